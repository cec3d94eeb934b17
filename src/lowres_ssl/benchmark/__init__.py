"""`lowres-ssl benchmark`: which method for my images, in a given time: asked, budgeted, run step by step, answered."""
