"""ImageNet backbone and attention-ReLU head, cut into a frozen and a trained part."""
