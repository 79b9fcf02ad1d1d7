/** Measures the limit that JavaScript sets: JSON in, a reducer, and a listener, in a loop. */
'use strict'

module.exports = {
  name: 'reducer',
  title: 'plain JavaScript: JSON.parse, a reducer that copies one level, a listener',
  peers: ['javascript'],
  unit: '/s',
  cases: () => [{ title: '' }],
  measure: async ({ seconds }) => {
    const texts = Array.from({ length: 1000 }, (_, n) => JSON.stringify({ o: 'n1', n, p: '' }))
    let heard = 0
    let state = { count: 0, last: null, origins: {}, rows: [] }
    const listeners = [() => (heard = state.count)]
    const start = performance.now()
    while (performance.now() - start < seconds * 1000) {
      for (const text of texts) {
        const action = JSON.parse(text)
        state = {
          ...state,
          count: state.count + 1,
          last: action.n,
          origins: { ...state.origins, [action.o]: action.n }
        }
        for (const listener of listeners) listener()
      }
    }
    return { '/s': heard / ((performance.now() - start) / 1000) }
  }
}
