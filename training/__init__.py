"""How the embedded model is made: text, speech, augmentation, training, export and evaluation."""
