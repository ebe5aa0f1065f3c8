"""The bundled demo: a trained model, a sample of its data, and their licence."""
