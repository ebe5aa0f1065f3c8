"""Training by TensorFlow's Model Optimization Toolkit: a process of its own, and what goes there and comes back."""
