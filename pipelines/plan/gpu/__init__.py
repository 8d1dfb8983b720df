"""What a plan says of GPUs: memory of a device, rates on paper, a node of GPUs and cores simulated."""
