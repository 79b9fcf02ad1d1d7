/** A loop in plain JavaScript as a peer: the scenario does all there is. */
'use strict'

module.exports = {
  name: 'javascript',
  title: 'plain JavaScript',
  promise: 'nothing: one process',
  missing: () => undefined,
  start: async () => ({})
}
