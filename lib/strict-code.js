// Records which reducers and methods are conflux's own, in strict mode: a write to a frozen state throws in them.
//
// Filled by recipes/compose.js and asked by application.js. state-check.js spares them what only finds writes of
// sloppy-mode code, which a frozen object ignores.

'use strict'

const reducers = new WeakMap()
const methods = new WeakSet()

const never = () => false

/** @param isStrict whether an action is reduced by strict code alone. */
function declareReducer(reduce, isStrict) {
  reducers.set(reduce, isStrict)
}

function declareMethod(method) {
  methods.add(method)
}

/** Of a reducer: whether it reduces an action by strict code alone. */
const strictActionsOf = reduce => reducers.get(reduce) ?? never

const isStrictMethod = method => methods.has(method)

module.exports = { declareMethod, declareReducer, isStrictMethod, strictActionsOf }
