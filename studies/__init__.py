"""Study what works on small sets: plain `lowres-ssl` commands, a protocol written before they run, tables of
all results.

    python -m studies.recipe run          train and score candidates for `recipe=tuned`; continues where it was stopped
    python -m studies.recipe table        print the gains on the validation images as Markdown
    python -m studies.recipe reveal       read the test images' accuracies of what is named, once, at the end
    python -m studies.recipe test-table   print those
    python -m studies.against_lightly     train the same methods by Lightly's documentation, in the same seconds

docs/recipe_study.md has the protocol and the results. Run from the root.
"""
