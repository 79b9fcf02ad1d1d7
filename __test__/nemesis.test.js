// Shows that the nemesis' checks find what they are for: each bad history is a good one with one thing changed.

'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { abridge, methods, reduce } = require('../nemesis/application')
const { checkOrder } = require('../nemesis/checks/order')
const { buildChecker, historyOfObjects, runChecker } = require('../nemesis/checks/linearizability')
const { missingCoverage } = require('../nemesis/coverage')
const { joinHistory } = require('../nemesis/history')
const { Random } = require('../nemesis/random')
const { schedule } = require('../nemesis/schedule')

/** Three operations of two processes, one after the other, a refusal, and two reads: a good history. */
function goodLines() {
  const performed = [
    ['a:1', 'write', [0, 'one']],
    ['b:1', 'cas', [0, 'one', 'two']],
    ['a:2', 'append', [0, 'x']]
  ]
  const lines = { a: [], b: [] }
  const states = []
  let state = reduce(undefined, null)
  let at = 0
  for (const [id, method, args] of performed) {
    const action = methods[method].call({ getProvisionalState: () => state }, id, ...args)
    state = reduce(state, action)
    const owner = lines[id[0]]
    owner.push(['i', (at += 10), id, method, args])
    for (const seen of Object.values(lines)) seen.push(['s', (at += 1), state.count, id, state.digest])
    owner.push(['a', (at += 1), id, action])
    states.push(state)
  }
  const { count, digest } = state
  lines.b.push(['i', (at += 10), 'b:2', 'cas', [0, 'one', 'three']])
  lines.b.push(['x', (at += 10), 'b:2', 'refused', 'MISMATCH', count, digest, 'two'])
  lines.a.push(['r', (at += 10), (at += 10), count, digest, 0, [['x'], 'two', null, null, null]])
  lines.a.push(['i', (at += 10), 'a:3', 'add', [0, 1]])
  return { lines, states }
}

function anomaliesOf(change = () => {}) {
  const history = goodLines()
  change(history)
  return checkOrder(joinHistory(history.lines)).anomalies
}

const line = (lines, kind, id) => lines.find(([k, , ...facts]) => k === kind && facts.includes(id))
const drop = (lines, wanted) => lines.splice(lines.indexOf(wanted), 1)

test('a good history is taken for good', () => {
  assert.deepEqual(anomaliesOf(), [])
})

test('actions that a process shows at once, after a replay, have their places', () => {
  const showAtOnce = ({ lines: { a, b }, states }) => {
    for (const lines of [a, b]) ['a:1', 'b:1'].forEach(id => drop(lines, line(lines, 's', id)))
    line(a, 's', 'a:2').push(['a:1', 'b:1'])
    return states
  }
  assert.deepEqual(anomaliesOf(showAtOnce), [])
  const inOtherOrder = history => {
    showAtOnce(history)
    line(history.lines.a, 's', 'a:2')[5].reverse()
  }
  assert.match(anomaliesOf(inOtherOrder).join(), /a:1 was acknowledged before b:1 was performed/)
})

const BAD = {
  'an acknowledged action that is lost': [
    ({ lines: { a, b } }) => {
      drop(a, line(a, 's', 'a:2'))
      drop(b, line(b, 's', 'a:2'))
    },
    /^a:2 was acknowledged and is lost$/
  ],
  'an action that is applied twice': [
    ({ lines: { a } }) => a.push(['s', 900, 4, 'a:1', 1]),
    /^a:1 was applied twice: 1 and 4$/
  ],
  'two processes with other orders': [
    ({ lines: { b } }) => {
      const [one, two] = [line(b, 's', 'a:1'), line(b, 's', 'b:1')]
      ;[one[3], two[3]] = [two[3], one[3]]
    },
    /^b applied b:1 as action 1, another process a:1$/
  ],
  'an action that was said to be refused': [
    ({ lines: { a } }) => {
      line(a, 'a', 'a:2').splice(0, 4, 'x', 900, 'a:2', 'refused', 'MISMATCH')
    },
    /^a:2 was refused \(MISMATCH\) and is action 3$/
  ],
  'an action that was said not to have happened': [
    ({ lines: { a } }) => {
      line(a, 'a', 'a:2').splice(0, 4, 'x', 900, 'a:2', 'not-applied', 'ERR_CONFLUX_CLOSED')
    },
    /^a:2 was not-applied \(ERR_CONFLUX_CLOSED\) and is action 3$/
  ],
  'an action that stands before one which was acknowledged before it was performed': [
    ({ lines: { a } }) => (line(a, 'i', 'a:1')[1] = 500),
    /^b:1 was acknowledged before a:1 was performed, and stands after it$/
  ],
  'a stale read': [
    ({ lines: { a }, states: [, { count, digest }] }) => {
      const read = a.find(([kind]) => kind === 'r')
      read.splice(3, 4, count, digest, 0, [null, 'two', null, null])
    },
    /^a read of a saw 2 actions, when .* had seen 3$/
  ],
  'a read of the future': [
    ({ lines: { a } }) => a.find(([kind]) => kind === 'r').splice(1, 2, 1, 2),
    /^a read of a saw an action of the future$/
  ],
  'a read of a value that is not there': [
    ({ lines: { a } }) => (a.find(([kind]) => kind === 'r')[6][1] = 'else'),
    /^a read of a saw .* after 3 actions$/
  ],
  'a refusal that rests on what is not so': [
    ({ lines: { b } }) => (line(b, 'x', 'b:2')[7] = 'else'),
    /^the refusal of b:2, MISMATCH, is wrong after 3 actions$/
  ],
  'an action where it should have been refused': [
    ({ lines: { b } }) => (line(b, 'i', 'b:1')[4][1] = 'never'),
    /^b:1 \(cas\) is action 2, where it is to be refused: MISMATCH$/
  ],
  'an answer that is not the action': [
    ({ lines: { a } }) => (line(a, 'a', 'a:1')[3].value = 'else'),
    /^a:1 was acknowledged as /
  ],
  'a state that differs from what the log gives': [
    ({ lines: { b } }) => line(b, 's', 'a:2')[4]++,
    /^b had another state after 3 actions$/
  ],
  'a process that goes back': [
    ({ lines: { b } }) => b.push([...line(b, 's', 'a:1')]),
    /^b went back from 3 actions to 1$/
  ],
  'a gap that no node was seen to fill': [
    ({ lines: { a, b } }) => [a, b].forEach(lines => drop(lines, line(lines, 's', 'b:1'))),
    /^no node was seen to apply action 2 of 3$/
  ],
  'an action without a call': [
    ({ lines: { a } }) => a.push(['s', 900, 4, 'z:1', 1]),
    /^z:1 was applied, but no call made it$/
  ]
}

test('a node that was removed begins anew, and is held to the order like any other', () => {
  const startsOver = ['e', 900, 'WARN_CONFLUX_STARTING_OVER', 'as a new member']
  const again = ({ b }, digest = 0) => {
    const seen = b.filter(([kind]) => kind === 's').map(([...state]) => state)
    seen[1][4] += digest
    b.push(startsOver, ...seen)
  }
  assert.deepEqual(
    anomaliesOf(({ lines }) => again(lines)),
    []
  )
  assert.deepEqual(
    anomaliesOf(({ lines }) => again(lines, 1)),
    ['b, member 2, had another state after 2 actions']
  )
})

/** A large action, and two large refusals, of which one came without what it saw. */
function bulkLines() {
  const { lines, states } = goodLines()
  const state = states.at(-1)
  const node = { getProvisionalState: () => state }
  const action = methods.bulk.call(node, 'b:3', 0, 7, 1_000_000, 20)
  const { count, digest } = reduce(state, action)
  lines.b.push(['i', 500, 'b:3', 'bulk', [0, 7, 1_000_000, 20]])
  for (const seen of [lines.a, lines.b]) seen.push(['s', 501, count, 'b:3', digest])
  lines.b.push(['a', 502, 'b:3', abridge(action)])
  lines.b.push(['i', 510, 'b:4', 'decline', [0, 60_000, 20]])
  lines.b.push(['x', 511, 'b:4', 'refused', 'DECLINED', count, digest, null])
  lines.b.push(['i', 520, 'b:5', 'decline', [0, 130_000, 20]])
  lines.b.push(['x', 521, 'b:5', 'refused', 'DECLINED', null, null, null])
  return lines
}

test('of large calls a history holds the sizes, and they are checked', () => {
  const anomalies = change => {
    const lines = bulkLines()
    change(lines.b)
    return checkOrder(joinHistory(lines)).anomalies
  }
  assert.equal(JSON.stringify(bulkLines()).length < 5000, true)
  assert.deepEqual(
    anomalies(() => {}),
    []
  )
  const wrong = [
    [b => b.find(([kind, , id]) => kind === 'a' && id === 'b:3')[3].data--, /^b:3 was acknowledged as /],
    [b => b.find(([kind, , id]) => kind === 'a' && id === 'b:3')[3].given++, /^b:3 was acknowledged as /],
    [
      b => b.find(([kind, , id]) => kind === 'x' && id === 'b:4')[6]++,
      /^the refusal of b:4 saw another state/
    ],
    [b => (b.find(([kind, , id]) => kind === 'x' && id === 'b:4')[5] = 3), /^the refusal of b:4 saw/]
  ]
  for (const [change, expected] of wrong) assert.match(anomalies(change)[0], expected)
})

for (const [what, [change, expected]] of Object.entries(BAD)) {
  test(`${what} is found`, () => {
    const anomalies = anomaliesOf(change)
    assert.ok(
      anomalies.some(text => expected.test(text)),
      `found instead: ${anomalies.join('\n')}`
    )
  })
}

test('the second opinion agrees on a good history, and on what registers, locks and queues must not do', async t => {
  await buildChecker()
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-nemesis-')), 'objects.jsonl')
  t.after(() => fs.rmSync(path.dirname(file), { recursive: true }))
  const opinionOn = async lines => {
    const operations = historyOfObjects(joinHistory(lines))
    assert.ok(operations.length >= 6)
    fs.writeFileSync(file, operations.map(operation => JSON.stringify(operation)).join('\n'))
    return runChecker(file)
  }
  const { lines } = goodLines()
  assert.deepEqual(await opinionOn(lines), { code: 0, output: '' })
  lines.a.find(([kind]) => kind === 'r')[6][1] = 'one'
  assert.deepEqual(await opinionOn(lines), {
    code: 1,
    output: 'the register 0 is not linearizable\n'
  })
  const calls = {
    'the lock 0': [
      ['i', 900, 'a:7', 'acquire', [0, 'one']],
      ['a', 901, 'a:7', {}],
      ['i', 902, 'a:8', 'acquire', [0, 'two']],
      ['a', 903, 'a:8', {}]
    ],
    'the queue 0': [
      ['i', 900, 'a:7', 'push', [0, 'x']],
      ['a', 901, 'a:7', {}],
      ['i', 902, 'a:8', 'take', [0]],
      ['x', 903, 'a:8', 'refused', 'EMPTY', 9, 9, null]
    ]
  }
  for (const [object, wrong] of Object.entries(calls)) {
    const { lines: good } = goodLines()
    good.a.push(...wrong)
    assert.deepEqual(await opinionOn(good), { code: 1, output: `${object} is not linearizable\n` })
  }
})

test('one seed gives one schedule, and every round has every fault', () => {
  const faults = Array.from({ length: 9 }, (_, i) => ({
    name: `fault-${i}`,
    touchesNetwork: i < 3,
    endsProcesses: i > 5
  }))
  const first = seed => {
    const names = []
    for (const together of schedule(faults, new Random(seed))) {
      names.push(together.map(({ name }) => name))
      assert.ok(together.filter(({ touchesNetwork }) => touchesNetwork).length <= 1)
      assert.ok(together.filter(({ endsProcesses }) => endsProcesses).length <= 1)
      if (names.flat().length === 3 * faults.length) return names
    }
  }
  assert.deepEqual(first(7), first(7))
  assert.notDeepEqual(first(7), first(8))
  for (const round of [0, 9, 18]) {
    assert.equal(
      new Set(
        first(7)
          .flat()
          .slice(round, round + 9)
      ).size,
      9
    )
  }
})

test('a fault that did not happen often enough fails the run', () => {
  const faults = [{ name: 'kill' }, { name: 'cut', leaderIn: 'minority' }]
  const struck = (fault, facts) => ({ fault, facts })
  const strikes = [
    ...Array.from({ length: 3 }, () => struck('kill', {})),
    ...Array.from({ length: 2 }, () => struck('cut', { leaderIn: 'minority' })),
    // It began, and found no process to strike.
    struck('cut', null)
  ]
  assert.deepEqual(missingCoverage(faults, strikes), [
    'cut happened 2 times, not 3',
    '2 cuts had a leader in the minority, not 3'
  ])
  strikes.push(struck('cut', { leaderIn: 'minority' }))
  assert.deepEqual(missingCoverage(faults, strikes), [])
})
