// Presence as a recipe: entries by name that end with the session of the node that made them.
//
// Called by recipes.js. The state is `{ recipe, sessions }`: by session number, `{ id, entries }`.

'use strict'

const { builtIn } = require('./built-in')
const { needsSession } = require('./sessions')

const { hasOwn } = Object

const INITIAL_STATE = Object.freeze({ recipe: 'presence/1', sessions: Object.freeze({}) })

/** The recipe. */
function presence() {
  return builtIn({ name: 'presence', initialState: INITIAL_STATE, methods, reduce })
}

const methods = {
  /** The calling node's session has an entry of this name, with this data. */
  enter(name, data) {
    const { id, session } = this.caller
    return session === null ? needsSession('presence') : { type: 'ENTERED', id, session, name, data }
  },

  /** Returns nothing if there is none. */
  leave(name) {
    const { session } = this.caller
    const { sessions } = this.state
    const isThere = hasOwn(sessions, session) && hasOwn(sessions[session].entries, name)
    return isThere ? { type: 'LEFT', session, name } : null
  }
}

function reduce(state, action) {
  const { sessions } = state
  switch (action.type) {
    case 'ENTERED': {
      const { id, session, name, data } = action
      const entries = hasOwn(sessions, session) ? sessions[session].entries : {}
      return withSession(state, session, { id, entries: { ...entries, [name]: data } })
    }
    case 'LEFT': {
      const { [action.name]: _, ...entries } = sessions[action.session].entries
      return withSession(state, action.session, { ...sessions[action.session], entries })
    }
    case '@@conflux/SESSION_ENDED':
      return hasOwn(sessions, action.session) ? withSession(state, action.session, { entries: {} }) : state
    default:
      return state
  }
}

function withSession(state, session, value) {
  if (Object.keys(value.entries).length > 0)
    return { ...state, sessions: { ...state.sessions, [session]: value } }
  const { [session]: _, ...sessions } = state.sessions
  return { ...state, sessions }
}

module.exports = { presence }
