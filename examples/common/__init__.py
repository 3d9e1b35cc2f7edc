"""What the examples share: their command line, data, pictures, training and loss networks."""
