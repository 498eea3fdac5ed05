"""The run folder: what is kept on the disk, whole whenever it is killed, and who may use it."""
