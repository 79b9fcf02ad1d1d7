/**
 * Measures what the protection of the state costs (`checkState`): a process with it and one without perform in
 * turns, and the processor time of an action is compared. Each has a heap of its own, so that each pays for its garbage.
 * V8 does not compile alike in every process: of several pairs of processes, the median counts.
 *
 *   node benches/state-check.js [--pairs 5] [--seconds 4] [--only array] [--control]
 *
 * `--control`: both without it, to know what the machine adds by itself.
 *
 * `copied`: each action copies the large object or array. `beside`: it changes what stands beside it.
 */
'use strict'

const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const { parseArgs } = require('node:util')

const conflux = require('..')

const { values: options } = parseArgs({
  options: {
    pairs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string', default: '' },
    control: { type: 'boolean', default: false },
    // What the processes get that this one starts: a title of CASES, with `checked` or without.
    serve: { type: 'string', default: '' },
    checked: { type: 'boolean', default: false }
  }
})

const ROUND_MS = 250
const WARMING_ROUNDS = 6
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

function open({ make, body }, checkState) {
  const step = new Function('s', 'a', `'use strict'; ${body}`)
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

/** One side of a pair: a round for each message, until the other process has had enough. */
async function serve(title) {
  const which = CASES.find(one => one.title === title)
  const node = open(which, options.checked)
  await node.ready()
  process.on('message', async () => process.send(await round(node, which.inFlight ?? IN_FLIGHT)))
  process.on('disconnect', () => node.close())
  process.send('ready')
}

class Side {
  #child
  #cost = { micros: 0, done: 0 }

  async start(title, isChecked) {
    this.#child = fork(__filename, ['--serve', title, ...(isChecked ? ['--checked'] : [])])
    await once(this.#child, 'message')
    return this
  }

  async round({ counts }) {
    this.#child.send('round')
    const [{ micros, done }] = await once(this.#child, 'message')
    if (!counts) return
    this.#cost.micros += micros
    this.#cost.done += done
  }

  get microsPerCall() {
    return this.#cost.micros / this.#cost.done
  }

  stop() {
    this.#child.disconnect()
  }
}

/** Microseconds of an action with the protection and without it. */
async function pair(title) {
  const sides = await Promise.all([true, false].map(is => new Side().start(title, is && !options.control)))
  // Until V8 has compiled what each of them runs.
  for (let turn = 0; turn < WARMING_ROUNDS; turn++) {
    for (const side of sides) await side.round({ counts: false })
  }
  const end = performance.now() + Number(options.seconds) * 1000
  for (let turn = 0; performance.now() < end; turn++) {
    // In turns, and each first as often as the other.
    for (const side of turn % 2 === 0 ? sides : sides.toReversed()) await side.round({ counts: true })
  }
  for (const side of sides) side.stop()
  return sides.map(side => side.microsPerCall)
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
}

async function main() {
  console.log('state'.padEnd(30), 'in flight  without (µs)  with (µs)  with/without (least, most)')
  for (const { title, inFlight = IN_FLIGHT } of CASES) {
    const pairs = []
    while (pairs.length < Number(options.pairs)) pairs.push(await pair(title))
    const ratios = pairs.map(([checked, without]) => checked / without)
    console.log(
      title.padEnd(30),
      String(inFlight).padStart(9),
      median(pairs.map(([, without]) => without))
        .toFixed(2)
        .padStart(13),
      median(pairs.map(([checked]) => checked))
        .toFixed(2)
        .padStart(10),
      median(ratios).toFixed(3).padStart(13),
      `(${Math.min(...ratios).toFixed(3)}, ${Math.max(...ratios).toFixed(3)})`
    )
  }
}

if (options.serve) serve(options.serve)
else main()
