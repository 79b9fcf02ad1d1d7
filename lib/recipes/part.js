// Finds a recipe's part in the state of a node, and describes its faults.
//
// Called by compose.js and context.js for methods and reducers, and by mount.js for clients.

'use strict'

const errors = require('../errors')
const { kindOf } = require('../kind')

const { hasOwn } = Object

/** A state from before the application had recipes, or without this one, lacks the part. */
function partOf(state, key, recipe) {
  const part = hasOwn(state, key) ? state[key] : recipe.initialState
  const fault = faultOfPart(part, recipe)
  if (fault === null) return part
  throw errors.invalidCall(`the state at "${key}" ${fault}`)
}

/**
 * Why a part of the state does not belong to the recipe, as text, or null. conflux's own recipes name themselves, and
 * the version of their shape, in their state: `locks/1`.
 */
function faultOfPart(part, { name, initialState }) {
  const expected = initialState.recipe
  if (expected === undefined || part?.recipe === expected) return null
  if (typeof part?.recipe !== 'string') return `is not of the recipe \`${name}\`: it is ${kindOf(part)}`
  return part.recipe.startsWith(`${name}/`)
    ? `has the shape ${part.recipe}, and this version of conflux knows ${expected}`
    : `is of the recipe \`${part.recipe.split('/')[0]}\`, not \`${name}\``
}

module.exports = { faultOfPart, partOf }
