/**
 * This file measures what the protection of the state costs (`checkState`): two nodes of one process, one with it and
 * one without, perform in turns; the processor time of an action is compared.
 *
 *   node benches/state-check.js [--seconds 4] [--only array] [--control]
 *
 * `--control`: both without it, to know what the machine adds by itself.
 *
 * `copied`: each action copies the large object or array. `beside`: it changes what stands beside it.
 */
'use strict'

const { randomUUID } = require('node:crypto')
const { parseArgs } = require('node:util')

const conflux = require('..')

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    only: { type: 'string', default: '' },
    control: { type: 'boolean', default: false }
  }
})

const ROUND_MS = 100
const IN_FLIGHT = 3000

const counter = {
  methods: { add: n => ({ n }) },
  make: () => ({ n: 0 }),
  body: 'return { ...s, n: s.n + 1 }'
}

/** A call is cheap next to a copy of 10 MiB: fewer in flight, or a batch of them would last for minutes. */
const CASES = [
  { title: '10 B', ...counter },
  ...[
    ['100 KiB', 1000, 3000],
    ['10 MiB', 100_000, 8]
  ].flatMap(([size, count, inFlight]) => [
    {
      title: `${size}, one object, copied`,
      inFlight: Math.min(inFlight, 200),
      make: () => objectOf(count),
      body: 'return { ...s, ["k" + (a.n % 1000)]: { n: a.n, text: "x".repeat(70) } }'
    },
    {
      title: `${size}, one object, beside`,
      make: () => ({ n: 0, large: objectOf(count) }),
      body: 'return { ...s, n: s.n + 1 }'
    },
    {
      title: `${size}, one array, copied`,
      inFlight: size === '10 MiB' ? 50 : IN_FLIGHT,
      make: () => Object.values(objectOf(count)),
      // As long as before, or one side would have a longer one.
      body: 'const c = [...s]; c[a.n % c.length] = { n: a.n, text: "x".repeat(70) }; return c'
    },
    {
      title: `${size}, one array, beside`,
      make: () => ({ n: 0, large: Object.values(objectOf(count)) }),
      body: 'return { ...s, n: s.n + 1 }'
    }
  ])
].filter(({ title }) => title.includes(options.only))

function objectOf(count) {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`k${i}`, { n: i, text: 'x'.repeat(70) }])
  )
}

function open({ make, body }, checkState, tag) {
  // Functions of their own, so that what V8 learned about one says nothing about the other.
  const step = new Function('s', 'a', `'use strict'; ${body} // ${tag}`)
  return conflux({
    id: 'a',
    clusterSize: 1,
    channel: { name: 'memory', channelName: randomUUID() },
    methods: counter.methods,
    reduce: (state, action) => (action === null ? make() : step(state, action)),
    snapshot: { entries: 1e9, bytes: 2 ** 40 },
    compareStates: false,
    checkState
  })
}

/** Keeps so many calls in flight for a while: microseconds of processor time, and calls done. */
async function round(node, inFlight) {
  let done = 0
  let sent = 0
  const end = performance.now() + ROUND_MS
  const keepOne = async () => {
    while (performance.now() < end) {
      await node.perform('add', [sent++])
      done++
    }
  }
  const before = process.cpuUsage()
  await Promise.all(Array.from({ length: inFlight }, keepOne))
  const { user, system } = process.cpuUsage(before)
  return { micros: user + system, done }
}

async function measure(which) {
  const { inFlight = IN_FLIGHT } = which
  const sides = [true, false].map(isFirst => ({
    node: open(which, isFirst && !options.control, isFirst),
    costs: []
  }))
  for (const { node } of sides) await node.ready()
  // Until V8 has compiled what each of them runs.
  for (let turn = 0; turn < 10; turn++) for (const { node } of sides) await round(node, inFlight)
  const end = performance.now() + Number(options.seconds) * 1000
  for (let turn = 0; performance.now() < end || turn < 8; turn++) {
    // In turns, and each first as often as the other.
    const order = turn % 2 === 0 ? sides : sides.toReversed()
    for (const { node, costs } of order) {
      const { micros, done } = await round(node, inFlight)
      costs.push(micros / done)
    }
  }
  for (const { node } of sides) await node.close()
  const [checked, without] = sides.map(({ costs }) => lowerQuartile(costs))
  return { checked, without, inFlight }
}

/** What other processes do to the caches only ever adds to the cost. */
function lowerQuartile(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 4)]
}

async function main() {
  console.log('state'.padEnd(30), 'in flight  without (µs)  with (µs)  with/without')
  for (const which of CASES) {
    const { inFlight, without, checked } = await measure(which)
    console.log(
      which.title.padEnd(30),
      String(inFlight).padStart(9),
      without.toFixed(2).padStart(13),
      checked.toFixed(2).padStart(10),
      (checked / without).toFixed(3).padStart(13)
    )
  }
}

main()
