"""Recipes: YAML files that name a model, data, stages of compression, exports, targets and goals, checked when read.

`read_recipe` in `slimedge.recipes.recipe` reads one. What a stage can be told is read off the stage itself, so a new
stage is a line in `slimedge.recipes.stages.STAGES`.
"""
