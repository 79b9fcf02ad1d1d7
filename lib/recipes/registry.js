// Which node serves what, as a recipe: services by name that end with the session of the node that serves them.
//
// Called by recipes.js. The state is `{ recipe, live, services }`: the node of each live session, and for each service the
// data of each session that serves it.

'use strict'

const { builtIn } = require('./built-in')
const { needsSession } = require('./sessions')

const { hasOwn } = Object

const INITIAL_STATE = Object.freeze({
  recipe: 'registry/1',
  live: Object.freeze({}),
  services: Object.freeze({})
})

/** The recipe. */
function registry() {
  return builtIn({ name: 'registry', initialState: INITIAL_STATE, methods, reduce })
}

const methods = {
  serve(service, data) {
    const { id, session } = this.caller
    return session === null ? needsSession('registry') : { type: 'SERVED', id, session, service, data }
  },

  /** Returns nothing if the calling node does not serve it. */
  withdraw(service) {
    const { session } = this.caller
    const { services } = this.state
    const serves = hasOwn(services, service) && hasOwn(services[service], session)
    return serves ? { type: 'WITHDRAWN', session, service } : null
  }
}

function reduce(state, action) {
  switch (action.type) {
    case '@@conflux/SESSION_STARTED':
      return { ...state, live: { ...state.live, [action.session]: action.id } }
    case '@@conflux/SESSION_ENDED':
      return endSession(state, action.session)
    case 'SERVED': {
      const { id, session, service, data } = action
      const servers = hasOwn(state.services, service) ? state.services[service] : {}
      const services = { ...state.services, [service]: { ...servers, [session]: data } }
      // The recipe may have been mounted after the session started.
      return { ...state, live: { ...state.live, [session]: id }, services }
    }
    case 'WITHDRAWN':
      return { ...state, services: withoutServer(state.services, action.service, action.session) }
    default:
      return state
  }
}

function endSession(state, session) {
  let { services } = state
  for (const service of Object.keys(services)) services = withoutServer(services, service, session)
  return { ...state, live: without(state.live, session), services }
}

function withoutServer(services, service, session) {
  if (!hasOwn(services[service], session)) return services
  const servers = without(services[service], session)
  return Object.keys(servers).length === 0 ? without(services, service) : { ...services, [service]: servers }
}

function without(object, key) {
  const { [key]: _, ...rest } = object
  return rest
}

module.exports = { registry }
