// Mounts recipes under keys of one state, beside the application's own state.
//
// Called by recipes.js. A recipe is `{ name, initialState, methods, reduce }`: its methods have a `RecipeContext` as
// `this`, and its reducer sees its own part of the state. Names of methods and types of actions get the key of their
// recipe as a prefix, so that one recipe can be mounted several times.

'use strict'

const { Buffer } = require('../environment')
const errors = require('../errors')
const { kindOf } = require('../kind')
const { declareMethod, declareReducer } = require('../strict-code')
const { isBuiltIn } = require('./built-in')
const { RecipeContext } = require('./context')
const { partOf } = require('./part')

const { hasOwn, keys } = Object

/** The key of the application's own state. */
const OWN_KEY = 'app'

/** With the name of a lock, it is the name of a timer. */
const KEY_BYTES_MAX = 50

const INIT = Object.freeze({ type: '@@conflux/INIT' })

/** Every part receives these. */
const SESSION_TYPES = new Set(['@@conflux/SESSION_STARTED', '@@conflux/SESSION_ENDED'])

/**
 * `{ initialState, methods, reduce }` for `conflux(options)`.
 *
 * @param given recipes, by key.
 * @param application the application's own `{ initialState, methods, reduce }`, if it has a state of its own.
 */
function compose(given, application) {
  const recipes = recipesOf(given)
  const own = application === undefined ? undefined : ownPart(application, recipes)
  const methods = {}
  for (const [key, recipe] of recipes) {
    for (const name of keys(recipe.methods)) {
      const method = mountMethod(key, recipe, recipe.methods[name])
      methods[`${key}/${name}`] = method
      if (isBuiltIn(recipe)) declareMethod(method)
    }
  }
  const reducer = (state, action) => reduce(recipes, own, state, action)
  declareReducer(reducer, action => {
    const key = keyOf(typeOf(action), recipes)
    return key !== undefined && isBuiltIn(recipes.get(key))
  })
  return {
    initialState: () => {
      const state = {}
      for (const [key, { initialState }] of recipes) state[key] = initialState
      if (own !== undefined) state[OWN_KEY] = own.initialState()
      return state
    },
    methods: { ...methods, ...own?.methods },
    reduce: reducer
  }
}

/** A map from key to recipe. */
function recipesOf(given) {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw errors.invalidArgument(
      `\`compose\` takes an object of recipes, such as { locks: locks() }; got ${kindOf(given)}`
    )
  }
  const recipes = new Map()
  for (const key of keys(given)) {
    if (!isKey(key)) {
      throw errors.invalidArgument(
        `\`compose\`: "${key}" can not be the key of a recipe; "${OWN_KEY}" is the application's own state, and keys have no "/" and at most ${KEY_BYTES_MAX} bytes`
      )
    }
    const recipe = given[key]
    if (!isRecipe(recipe)) {
      const hint = typeof recipe === 'function' ? '; call it: it makes one' : ''
      throw errors.invalidArgument(`\`compose\`: "${key}" must be a recipe, got ${kindOf(recipe)}${hint}`)
    }
    recipes.set(key, recipe)
  }
  return recipes
}

/** It begins the names of methods and timers. */
function isKey(key) {
  const isShort = key !== '' && key.isWellFormed() && Buffer.byteLength(key) <= KEY_BYTES_MAX
  return isShort && !key.includes('/') && !key.startsWith('@@') && key !== OWN_KEY && key !== '__proto__'
}

function isRecipe(value) {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof value.name === 'string' &&
    value.initialState !== undefined &&
    typeof value.methods === 'object' &&
    value.methods !== null &&
    typeof value.reduce === 'function'
  )
}

const OPTIONS = ['initialState', 'methods', 'reduce']

/** The application's own part: `{ initialState(), methods, reduce }`. */
function ownPart(application, recipes) {
  if (typeof application !== 'object' || application === null || Array.isArray(application)) {
    throw errors.invalidArgument(
      `\`compose\` takes the application's own { initialState, methods, reduce }, got ${kindOf(application)}`
    )
  }
  for (const option of keys(application)) {
    if (OPTIONS.includes(option)) continue
    throw errors.invalidArgument(
      `\`compose\`: the option "${option}" is unknown; other options are passed to \`conflux\` itself`
    )
  }
  const { initialState, methods = {}, reduce } = application
  if (typeof reduce !== 'function') {
    throw errors.invalidArgument(`\`compose\`: "reduce" must be a function, got ${kindOf(reduce)}`)
  }
  return {
    initialState: () => initialStateOf(initialState, reduce),
    methods: ownMethods(methods, recipes),
    reduce
  }
}

/** As a node finds it. */
function initialStateOf(given, reduce) {
  if (given !== undefined) return typeof given === 'function' ? given() : given
  try {
    return reduce(undefined, null)
  } catch (error) {
    try {
      return reduce(undefined, INIT)
    } catch {
      throw error
    }
  }
}

function ownMethods(methods, recipes) {
  if (typeof methods !== 'object' || methods === null) {
    throw errors.invalidArgument(`\`compose\`: "methods" must be an object, got ${kindOf(methods)}`)
  }
  const mounted = {}
  for (const name of keys(methods)) {
    const key = keyOf(name, recipes)
    if (key !== undefined) {
      throw errors.invalidArgument(`\`compose\`: the method "${name}" would be one of the recipe "${key}"`)
    }
    const method = methods[name]
    // The options of the node name what is no function.
    mounted[name] = typeof method === 'function' ? ownMethod(method, recipes) : method
  }
  return mounted
}

/** An action of the application must not reach the reducer of a recipe. */
function ownMethod(method, recipes) {
  return function (...args) {
    const action = Reflect.apply(method, this, args)
    const key = keyOf(typeOf(action), recipes)
    if (key === undefined) return action
    throw errors.core(
      'ERR_CONFLUX_INVALID_ARGUMENT',
      `the type "${action.type}" of an action is one of the recipe "${key}"; choose another type, or another key for the recipe`
    )
  }
}

/** The key of the recipe to which a name belongs, or undefined. */
function keyOf(name, recipes) {
  const slash = typeof name === 'string' ? name.indexOf('/') : -1
  if (slash === -1) return undefined
  const key = name.slice(0, slash)
  return recipes.has(key) ? key : undefined
}

function typeOf(action) {
  return typeof action === 'object' && action !== null ? action.type : undefined
}

function mountMethod(key, recipe, method) {
  return function (...args) {
    const action = Reflect.apply(method, new RecipeContext(this, key, recipe), args)
    if (typeof typeOf(action) !== 'string' || errors.isError(action)) return action
    return { ...action, type: `${key}/${action.type}` }
  }
}

function reduce(recipes, own, state, action) {
  const type = typeOf(action)
  const key = keyOf(type, recipes)
  if (key !== undefined) {
    const local = { ...action, type: type.slice(key.length + 1) }
    return withPart(state, key, reducePart(recipes.get(key), key, state, local))
  }
  let next = state
  if (SESSION_TYPES.has(type)) {
    for (const [key, recipe] of recipes) next = withPart(next, key, reducePart(recipe, key, next, action))
  }
  return own === undefined ? next : withPart(next, OWN_KEY, own.reduce(ownStateOf(next, own), action))
}

function reducePart(recipe, key, state, action) {
  return recipe.reduce(partOf(state, key, recipe), action)
}

function withPart(state, key, part) {
  return hasOwn(state, key) && state[key] === part ? state : { ...state, [key]: part }
}

function ownStateOf(state, own) {
  return hasOwn(state, OWN_KEY) ? state[OWN_KEY] : own.initialState()
}

module.exports = { compose }
