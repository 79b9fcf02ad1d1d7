// Makes all live nodes forget something, as a recipe.
//
// Called by recipes.js. The state is `{ recipe, sequence, members }`: how many invalidations there were, and by session up to
// which of them each node has applied them. A node that was restored from a snapshot cannot know what it missed, and
// forgets everything.

'use strict'

const { builtIn } = require('./built-in')
const { needsSession } = require('./sessions')

const { hasOwn } = Object

const INITIAL_STATE = Object.freeze({ recipe: 'invalidation/1', sequence: 0, members: Object.freeze({}) })

/** The recipe. */
function invalidation() {
  return builtIn({ name: 'invalidation', initialState: INITIAL_STATE, methods, reduce })
}

const methods = {
  invalidate(tags) {
    return { type: 'INVALIDATED', tags, sequence: this.state.sequence + 1 }
  },

  /** The calling node has a cache, and has applied all invalidations up to this one. */
  applied(sequence) {
    const { id, session } = this.caller
    return session === null ? needsSession('invalidation') : { type: 'APPLIED', id, session, sequence }
  },

  /** The calling node has no cache any more. Returns nothing if it had none. */
  leave() {
    const { session } = this.caller
    return hasOwn(this.state.members, session) ? { type: 'LEFT', session } : null
  }
}

function reduce(state, action) {
  switch (action.type) {
    case 'INVALIDATED':
      return { ...state, sequence: action.sequence }
    case 'APPLIED': {
      const { id, session, sequence } = action
      return { ...state, members: { ...state.members, [session]: { id, sequence } } }
    }
    case 'LEFT':
    case '@@conflux/SESSION_ENDED': {
      if (!hasOwn(state.members, action.session)) return state
      const { [action.session]: _, ...members } = state.members
      return { ...state, members }
    }
    default:
      return state
  }
}

module.exports = { invalidation }
