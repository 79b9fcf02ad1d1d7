/**
 * Shows that an outcome never comes before the state that it was decided on: once a call has resolved with
 * its action, resolved with nothing or been refused, `getState()` of the calling node contains what the method
 * saw; and `status().appliedIndex` is never ahead of `getState()`.
 *
 * CONFLUX_OUTCOMES sets how many outcomes are awaited in each of the kinds (default 600).
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { elected, openCluster, until } = require('./nodes')

const OUTCOMES = Number(process.env.CONFLUX_OUTCOMES ?? 600)
const IN_FLIGHT = 20
/** A reducer that is slower than the core: what a node knows to be committed is then long not in its state. */
const REDUCER_MS = 0.1

function spin(milliseconds) {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** Keys of which the newest are kept, and what was there when a method looked. */
const once = {
  methods: {
    /** An idempotency key that was seen leaves nothing to do. */
    once(key) {
      const { count, keys } = this.getProvisionalState()
      return keys[key] === undefined ? { key, count } : null
    },
    claim(key) {
      const { count, keys } = this.getProvisionalState()
      if (keys[key] === undefined) return { key, count }
      return Object.assign(new Error('taken'), { count, at: keys[key] })
    }
  },
  reduce(state = { count: 0, keys: {} }, action) {
    if (action === null) return state
    spin(REDUCER_MS)
    const keys = { ...state.keys, [action.key]: state.count }
    if (state.count % 100 === 0) {
      for (const key of Object.keys(keys)) if (keys[key] < state.count - 500) delete keys[key]
    }
    return { count: state.count + 1, keys }
  },
  // Nothing but actions, and the outcomes recorded beside them, is to be in the log.
  compareStates: false
}

for (const medium of ['memory', 'disk']) {
  for (const method of ['once', 'claim']) {
    for (const role of ['leader', 'followers']) {
      const ends = method === 'once' ? 'resolve with nothing' : 'are refused'
      test(`calls that ${ends} do so behind what they saw: ${OUTCOMES}, ${medium}, ${role}`, async t => {
        const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-seen-'))
        const nodes = openCluster(t, 3, id => ({
          ...once,
          storage: medium === 'disk' ? { path: path.join(folder, id) } : undefined
        }))
        t.after(async () => {
          await Promise.all(nodes.map(node => node.close()))
          fs.rmSync(folder, { recursive: true })
        })
        const { leader, followers } = await elected(nodes)
        await Promise.all(nodes.map(node => node.ready()))
        const callers = role === 'leader' ? [leader] : followers

        let begun = 0
        const ended = { action: 0, nothing: 0, refused: 0 }
        const missing = []
        async function work(node) {
          while (begun < OUTCOMES) {
            // Each key twice, one right after the other.
            const key = `k${begun++ >> 1}`
            const action = await node.perform(method, [key]).catch(error => error)
            const { count, keys } = node.getState()
            if (action instanceof Error) {
              assert.equal(action.message, 'taken', `${action.code}: ${action.message}`)
              ended.refused++
              if (count < action.count)
                missing.push(`${key}: ${count} actions, where ${action.count} were seen`)
            } else ended[action === undefined ? 'nothing' : 'action']++
            // Both calls of a key are made within a few actions, long before it is dropped.
            if (keys[key] === undefined) missing.push(`${key} is not among ${count} actions`)
            if (action?.key && count <= action.count)
              missing.push(`${key} resolved before its action was reduced`)
          }
        }
        await Promise.all(Array.from({ length: IN_FLIGHT }, (_, i) => work(callers[i % callers.length])))
        assert.deepEqual(missing, [], `${missing.length} of ${OUTCOMES} were ahead of the state`)
        t.diagnostic(`${JSON.stringify(ended)}, 0 ahead of getState()`)
        assert.ok(ended.action > 0 && ended.nothing + ended.refused > 0, 'nothing was shown')
      })
    }
  }
}

/** How far the nodes have applied once nothing has been appended for half a second. */
async function restingIndex(nodes) {
  let [index, since] = [-1, 0]
  await until('the log to rest', () => {
    const indexes = new Set(nodes.map(node => node.status().appliedIndex))
    if (indexes.size > 1 || !indexes.has(index)) [index, since] = [Math.max(...indexes), performance.now()]
    return performance.now() - since > 500
  })
  return index
}

for (const medium of ['memory', 'disk']) {
  test(`status().appliedIndex is never ahead of getState(): ${medium}`, async t => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-applied-'))
    const nodes = openCluster(t, 3, id => ({
      methods: { add: () => 1 },
      reduce(count = 0, action) {
        if (action !== null) spin(REDUCER_MS)
        return count + (action ?? 0)
      },
      compareStates: false,
      storage: medium === 'disk' ? { path: path.join(folder, id) } : undefined
    }))
    t.after(async () => {
      await Promise.all(nodes.map(node => node.close()))
      fs.rmSync(folder, { recursive: true })
    })
    await elected(nodes)
    await Promise.all(nodes.map(node => node.ready()))
    // What is not an action: the founding, the election, the starts of the processes. From here on there is nothing
    // else in the log.
    const others = await restingIndex(nodes)
    await Promise.all(nodes.map(node => node.sync()))
    const { term } = nodes[0].status()

    let isOver = false
    t.after(() => (isOver = true))
    let checks = 0
    let behind = 0
    const ahead = []
    const check = node => {
      const { appliedIndex, commitIndex } = node.status()
      const reduced = node.getState()
      checks++
      if (commitIndex > appliedIndex) behind++
      if (appliedIndex - others > reduced) ahead.push(`index ${appliedIndex - others}, ${reduced} reduced`)
    }
    for (const node of nodes) node.subscribe(() => check(node))
    const turn = () => {
      nodes.forEach(check)
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    for (let done = 0; done < OUTCOMES; done += 200) {
      await Promise.all(Array.from({ length: 200 }, (_, i) => nodes[i % 3].perform('add')))
    }
    await Promise.all(nodes.map(node => node.sync()))
    const count = nodes[0].getState()
    await until('all to be reduced', () => nodes.every(node => node.status().appliedIndex - others >= count))
    isOver = true
    assert.equal(nodes[0].status().term, term, 'there was an election: the log holds another entry')
    assert.deepEqual(
      nodes.map(node => node.status().appliedIndex - others),
      [count, count, count],
      'the log holds something else than actions: nothing was shown'
    )
    assert.deepEqual(ahead.slice(0, 5), [], `${ahead.length} of ${checks} checks`)
    assert.ok(behind > 0, 'no state was ever behind the log: nothing was shown')
    t.diagnostic(`${checks} checks, ${behind} of them with the state behind the log, 0 ahead of it`)
  })
}
