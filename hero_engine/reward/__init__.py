"""What the labels teach: embedding, backbone features, rewards."""
