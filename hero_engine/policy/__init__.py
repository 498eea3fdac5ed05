"""The policy that makes pictures: the prior over initial noises, and the sampler."""
