"""What every use of TFMOT needs: a float model sent to its process, rebuilt with tf-keras, trained, and sent back."""
