"""What is said before the long work: what is there, what will run, how long it takes and how large it is."""
