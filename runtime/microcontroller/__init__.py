"""What a TFLite file needs on a microcontroller: memory, flash, and operators that TFLite Micro has."""
