"""A zoo of untrained models, one for each way in which Keras models are commonly put together."""
