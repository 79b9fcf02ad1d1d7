// Records the recipes that are conflux's own, and not changed by the application.
//
// Used by the recipes and by compose.js.

'use strict'

const recipes = new WeakSet()

/** Returns the recipe, whose methods and reducer cannot be replaced from now on. */
function builtIn(recipe) {
  recipes.add(Object.freeze(recipe))
  Object.freeze(recipe.methods)
  return recipe
}

const isBuiltIn = recipe => recipes.has(recipe)

module.exports = { builtIn, isBuiltIn }
