"""Where the time goes: each op of a file on a runtime, and the Keras layers that they belong to."""
