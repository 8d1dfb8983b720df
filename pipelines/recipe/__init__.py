"""The recipe: what may be written in it, what is wrong with one, and what a run is made of.

Doors: `recipe.load_recipe(source)` and `recipe.load_data(data)` return a `Recipe`; `to_run.prepare(recipe, run_dir)`
makes it a `Prepared` run, the only way there is; `recipe.recipe_schema()` is for editors.
"""
