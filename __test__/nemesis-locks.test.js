/**
 * The nemesis with the workload `locks`, in its short form; and its checks find what they are for: each bad history is a good one
 * with one thing changed.
 */
'use strict'

const assert = require('node:assert/strict')
const { EventEmitter } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { addLine, compareLocks } = require('../nemesis/checks/locks')
const faults = require('../nemesis/faults')
const { LockWatch } = require('../nemesis/lock-watch')
const { run } = require('../nemesis/run')

/** `a` has the lock by a session and loses it to a pause; `b` has it next, and then `a` by a lease. */
function goodHistory() {
  return {
    lines: [
      ['a', 'g', 10_000, 'key', 1, 5, null],
      ['b', 'd', 4_000_000, 'a', 5, 'silent'],
      ['b', 'g', 4_000_100, 'key', 2, 6, null],
      ['a', 'q', 4_500_000, 1, false],
      ['b', 'q', 4_600_000, 2, true],
      ['a', 'g', 4_600_500, 'key', 3, null, 4_900_000],
      ['a', 'q', 4_700_000, 3, true],
      ['b', 'g', 4_700_900, 'key', 4, 6, null],
      ['b', 'q', 4_701_000, 4, true]
    ],
    strikes: [{ from: 1_000_000, to: 4_400_000, facts: { target: 'a' } }],
    finals: [{ count: 4, left: [] }]
  }
}

function anomaliesOf(change = () => {}) {
  const history = goodHistory()
  change(history)
  const { lines, strikes, finals } = history
  const found = { grants: new Map(), ends: [], repeated: [] }
  for (const [origin, ...line] of lines) addLine(found, origin, line)
  const settings = { ids: ['a', 'b', 'c'], channel: 'tcp', sessionTimeoutMs: 2000 }
  return compareLocks({ ...found, strikes, finals, ...settings }).anomalies
}

const cut = directions => [{ from: 1_000_000, to: 4_400_000, facts: { leaderIn: 'minority', directions } }]

test('a good history of locks is taken for good', () => assert.deepEqual(anomaliesOf(), []))

const bad = {
  'a token that is given twice': ({ lines }) => lines.push(['c', 'g', 5_000_000, 'other', 2, 7, null]),
  'a grant before the release of the former': ({ lines }) => (lines[7][2] = 4_699_000),
  'a grant before the end of the session of the former': ({ lines }) => (lines[2][2] = 3_999_999),
  'a grant during a lease': ({ lines }) => ((lines[6][2] = 4_800_000), (lines[7][2] = 4_790_000)),
  'a grant while a killed process has a lease': ({ lines }) => lines.splice(6, 1),
  'a lock that is lost in a session that lives': ({ lines }) => (lines[8][4] = false),
  'a member that is silent, and no fault strikes it': ({ strikes }) => (strikes[0].facts.target = 'b'),
  'a member that is silent long after the fault': history =>
    (history.strikes[0].from = history.strikes[0].to = -1_000_001),
  'a member that a majority hears': history => (history.strikes = cut([['a', 'b']])),
  'a lock that is held when all clients have ended': ({ finals }) => finals[0].left.push('a/1')
}

for (const [what, change] of Object.entries(bad)) {
  test(`found: ${what}`, () => assert.equal(anomaliesOf(change).length, 1, anomaliesOf(change).join('\n')))
}

test('a member that no majority hears may be silent', () => {
  assert.deepEqual(anomaliesOf(history => (history.strikes = cut([['a', 'b'], ['a', 'c']]))), []) // prettier-ignore
})

const request = (owner, session = 1) => ({ owner, session, bySession: true, duration: null })
const holder = (owner, token, session = 1) => ({ ...request(owner, session), token, until: null })

/** What the watch reports after these steps: an action, and the entry of the lock "key" after it. */
function brokenBy(...steps) {
  const texts = []
  let listener
  const node = Object.assign(new EventEmitter(), {
    subscribe: given => (listener = given),
    getState: () => ({ locks: { token, locks: entry === null ? {} : { 0: { key: entry } } } })
  })
  let entry = null
  let token = 0
  new LockWatch(node, 'locks', { broken: text => texts.push(text), sessionEnded() {} })
  for (const [action, held, queue = []] of steps) {
    entry = held.length + queue.length === 0 ? null : { held, queue }
    token = Math.max(token, ...held.map(({ token }) => token))
    listener({ action, at: 0 })
  }
  return texts
}

const requested = owner => ({ type: 'locks/REQUESTED', key: 'key', request: request(owner) })
const released = owner => ({ type: 'locks/RELEASED', key: 'key', owner })
const ended = session => ({ type: '@@conflux/SESSION_ENDED', session })

test('the rules of locks hold where requests are granted in their order', () => {
  const steps = [
    [requested('x'), [holder('x', 1)]],
    [requested('y'), [holder('x', 1)], [request('y')]],
    [requested('z'), [holder('x', 1)], [request('y'), request('z')]],
    [released('x'), [holder('y', 2)], [request('z')]],
    [ended(2), [holder('y', 2)], [request('z')]],
    [ended(1), []]
  ]
  assert.deepEqual(brokenBy(...steps), [])
})

const [x, y, z] = ['x', 'y', 'z'].map(owner => request(owner))
const broken = {
  'two holders': [
    [requested('x'), [holder('x', 1)]],
    [requested('y'), [holder('x', 1), holder('y', 2)]]
  ],
  'the token 1 after 1': [
    [requested('x'), [holder('x', 1)]],
    [released('x'), []],
    [requested('y'), [holder('y', 1)]]
  ],
  'passed over': [
    [requested('x'), [holder('x', 1)]],
    [requested('y'), [holder('x', 1)], [y]],
    [requested('z'), [holder('x', 1)], [y, z]],
    [released('x'), [holder('z', 2)], [y]]
  ],
  'lost the lock': [
    [requested('x'), [holder('x', 1)]],
    [released('y'), []]
  ],
  'is gone': [
    [requested('x'), [holder('x', 1)]],
    [requested('y'), [holder('x', 1)]]
  ],
  'is free, and requests wait': [[requested('x'), [], [x]]]
}

for (const [text, steps] of Object.entries(broken)) {
  test(`a broken rule is found: ${text}`, () => {
    const pattern = new RegExp(text === 'two holders' ? '2 holders' : text)
    assert.ok(
      brokenBy(...steps).some(found => pattern.test(found)),
      brokenBy(...steps).join('\n')
    )
  })
}

test('a leader that is killed, and a process that is paused beyond its session: nothing is granted twice or lost', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-nemesis-'))
  t.after(() => fs.rmSync(folder, { recursive: true }))
  const { anomalies, strikes, numbers } = await run(
    {
      name: 'locks',
      workload: 'locks',
      channel: 'local',
      size: 3,
      isDurable: false,
      seconds: Infinity,
      rounds: 1,
      seed: 5,
      clients: 60,
      pause: 0,
      faults: faults.filter(({ name }) => name === 'kill' || name === 'pause'),
      folder
    },
    text => t.diagnostic(text)
  )
  assert.deepEqual(anomalies, [])
  assert.equal(strikes.length, 2)
  t.diagnostic(JSON.stringify(numbers))
  assert.ok(numbers.grantsSeen > 500 && numbers.grantsSeen <= numbers.grants, JSON.stringify(numbers))
  assert.ok(numbers.sessionsEnded > 0, JSON.stringify(numbers))
})
