/**
 * Holds the curves of `scale.js`: what grows, at which sizes it is measured, what is measured there, and what a reader
 * should do about it.
 *
 * Each point is measured on a fresh cluster over Redis: three nodes in three processes, if it is not said otherwise.
 */
'use strict'

const IDS = [['a'], ['b'], ['c']]
const VOTERS = ['a', 'b', 'c', 'd', 'e']
const KIB = 1024

/** A call may take so many times as long as at the smallest size, and a block so many milliseconds. */
const P99_TIMES_MAX = 3
const BLOCK_MS_MAX = 20
/** Idle processes may take this share of a core. */
const IDLE_PERCENT_MAX = 2
/** Of the throughput at the smallest size. */
const THROUGHPUT_SHARE_MIN = 0.5

/** What one store of three processes does at `x`, `inFlight` calls outstanding on the leader. */
async function throughput({ start, seconds }, inFlight, options, burst) {
  const cluster = await start(options)
  await cluster.start(IDS)
  await cluster.lead('a')
  return cluster.ask('a', 'burst', { inFlight, seconds, ...burst })
}

const CURVES = [
  {
    name: 'state-size',
    title: 'Size of the state',
    setting: 'A call every 10 ms on each of three nodes, snapshots every 300 actions, states compared.',
    x: { title: 'size of the state', unit: 'MB' },
    sizes: ({ isQuick }) => (isQuick ? [1, 10] : [1, 10, 50, 100]),
    series: [
      { name: 'call, p99', unit: 'ms' },
      { name: 'longest block of a process', unit: 'ms' },
      { name: 'a new node has the state after', unit: 'ms' }
    ],
    measure: async ({ x, start, seconds }) => {
      const cluster = await start({ snapshot: { entries: 300 } })
      await cluster.start(IDS)
      await cluster.ask('a', 'fill', { bytes: x * 1e6 })
      // The others reduce it, too, which blocks them.
      for (const [id] of IDS) await cluster.ask(id, 'sync')
      const trickle = seconds => IDS.map(([id]) => cluster.ask(id, 'trickle', { seconds, pauseMs: 10 }))
      // The first pass over a state, of the comparison and of the snapshot, is part of what a large one costs.
      await cluster.askAll('countBlocks')
      const latencies = await Promise.all(trickle(4 * seconds))
      const blocks = await cluster.askAll('longestBlock')
      const [joined] = await Promise.all([cluster.join('d', 3), ...trickle(seconds)])
      return {
        'call, p99': Math.max(...latencies.map(({ p99 }) => p99)),
        'longest block of a process': Math.max(...blocks),
        'a new node has the state after': joined
      }
    },
    advice: (points, { count }) => {
      const first = points[0]?.figures['call, p99']
      const isGood = ({ figures }) =>
        figures['call, p99'] <= P99_TIMES_MAX * first && figures['longest block of a process'] <= BLOCK_MS_MAX
      return split(
        points,
        isGood,
        size => `${count(size)} MB`,
        `a call's p99 of at most ${P99_TIMES_MAX} × that of the smallest state, and no process blocked for longer than ${BLOCK_MS_MAX} ms`
      )
    }
  },
  {
    name: 'stores',
    title: 'Stores in a process',
    setting: 'So many stores in each of three processes; one of them is called, the others are idle.',
    x: { title: 'stores in each process', unit: '' },
    sizes: ({ isQuick }) => (isQuick ? [1, 10] : [1, 10, 50, 200]),
    series: [
      { name: 'idle process', unit: '% of a core' },
      { name: 'publishes, idle', unit: '/s' },
      { name: 'connections to Redis', unit: '' },
      { name: 'call from the leader, p50', unit: 'ms' }
    ],
    measure: async ({ x, start, seconds }) => {
      const cluster = await start({ stores: x })
      await cluster.start(IDS)
      const { cpuPercent, publishes } = await cluster.idle(2 * seconds)
      const connections = await cluster.connections()
      await cluster.lead('a')
      const { p50 } = await cluster.ask('a', 'burst', { inFlight: 1, seconds })
      return {
        'idle process': cpuPercent,
        'publishes, idle': publishes,
        'connections to Redis': connections,
        'call from the leader, p50': p50
      }
    },
    advice: (points, { count }) =>
      split(
        points,
        ({ figures }) => figures['idle process'] <= IDLE_PERCENT_MAX,
        size => `${count(size)} stores`,
        `at most ${IDLE_PERCENT_MAX} % of a core for an idle process`
      )
  },
  {
    name: 'members',
    title: 'Members',
    setting: `Up to five voters; the others are learners. 3,000 calls in flight from the leader, which has a process of its own; the other voters share one, the learners another. All of them share this machine.`,
    x: { title: 'members', unit: '' },
    sizes: ({ isQuick }) => (isQuick ? [3, 9] : [3, 5, 9, 15, 25]),
    series: [
      { name: 'calls', unit: '/s' },
      { name: 'processor time of the leader, a call', unit: 'µs' },
      { name: 'publishes, idle', unit: '/s' }
    ],
    measure: async ({ x, start, seconds }) => {
      const cluster = await start()
      const [leader, ...voters] = VOTERS.slice(0, Math.min(x, VOTERS.length))
      const learners = Array.from({ length: x - voters.length - 1 }, (_, i) => `l${i}`)
      await cluster.start([[leader], voters, ...(learners.length > 0 ? [learners] : [])], 2)
      const { publishes } = await cluster.idle(2 * seconds)
      await cluster.lead(leader)
      const { perSecond, cpuMicros } = await cluster.ask(leader, 'burst', { inFlight: 3000, seconds })
      return {
        calls: perSecond,
        'processor time of the leader, a call': cpuMicros,
        'publishes, idle': publishes
      }
    },
    advice: (points, { count }) =>
      split(points, keepsThroughput(points), size => `${count(size)} members`, KEEPS_THROUGHPUT, MACHINES)
  },
  {
    name: 'action-size',
    title: 'Size of an action',
    setting: '100 calls in flight from the leader.',
    x: { title: 'size of an action', unit: 'KiB' },
    sizes: ({ isQuick }) => (isQuick ? [0.1, 16] : [0.1, 1, 4, 16, 64, 256]),
    series: [
      { name: 'calls', unit: '/s' },
      { name: 'payload', unit: 'kB/s' },
      { name: 'call, p99', unit: 'ms' }
    ],
    measure: async ({ x, ...setting }) => {
      const payloadBytes = Math.round(x * KIB)
      const { perSecond, p99 } = await throughput(setting, 100, {}, { payloadBytes })
      return { calls: perSecond, payload: (perSecond * payloadBytes) / 1e3, 'call, p99': p99 }
    },
    advice: (points, { count }) => {
      const best = points.reduce((best, point) =>
        point.figures.payload > best.figures.payload ? point : best
      )
      return [
        `Most bytes a second go through with actions of ${count(best.x)} KiB: ${count(best.figures.payload / 1e3)} MB/s. ` +
          'Each action crosses the channel once for each follower, or once for all where many followers share a topic, and is parsed on every node: keep large values elsewhere, and their addresses in the state.'
      ]
    }
  },
  {
    name: 'subscribers',
    title: 'Subscribers of a node',
    setting: '1,000 calls in flight from the leader; every node has so many subscribers, which do nothing.',
    x: { title: 'subscribers', unit: '' },
    sizes: ({ isQuick }) => (isQuick ? [0, 100] : [0, 10, 100, 1000]),
    series: [{ name: 'calls', unit: '/s' }],
    measure: async ({ x, ...setting }) => {
      const { perSecond } = await throughput(setting, 1000, { subscribers: x })
      return { calls: perSecond }
    },
    advice: (points, { count }) =>
      split(
        points,
        keepsThroughput(points),
        size => `${count(size)} subscribers`,
        KEEPS_THROUGHPUT,
        SUBSCRIBE
      )
  },
  {
    name: 'pending',
    title: 'Pending calls',
    setting: 'So many calls in flight from the leader.',
    x: { title: 'calls in flight', unit: '' },
    sizes: ({ isQuick }) => (isQuick ? [1, 1000] : [1, 10, 100, 1000, 3000, 10_000]),
    series: [
      { name: 'calls', unit: '/s' },
      { name: 'call, p50', unit: 'ms' },
      { name: 'call, p99', unit: 'ms' }
    ],
    measure: async ({ x, ...setting }) => {
      const { perSecond, p50, p99 } = await throughput(setting, x)
      return { calls: perSecond, 'call, p50': p50, 'call, p99': p99 }
    },
    advice: (points, { count }) => {
      const most = Math.max(...points.map(({ figures }) => figures.calls))
      const enough = points.find(({ figures }) => figures.calls >= 0.9 * most)
      return [
        `With ${count(enough.x)} calls in flight the cluster does 90 % of the most that it did; more calls only wait for longer.`
      ]
    }
  },
  {
    name: 'reducer-cost',
    title: 'Cost of a reducer',
    setting: '1,000 calls in flight from the leader; the reducer computes for so long on every node.',
    x: { title: 'duration of the reducer', unit: 'µs' },
    sizes: ({ isQuick }) => (isQuick ? [0, 100] : [0, 10, 30, 100, 300, 1000]),
    series: [
      { name: 'calls', unit: '/s' },
      { name: 'call, p99', unit: 'ms' }
    ],
    measure: async ({ x, ...setting }) => {
      const { perSecond, p99 } = await throughput(setting, 1000, { reducerMicros: x })
      return { calls: perSecond, 'call, p99': p99 }
    },
    advice: (points, { count }) =>
      split(
        points,
        keepsThroughput(points),
        size => `${count(size)} µs`,
        KEEPS_THROUGHPUT,
        'Every node reduces every action, one after the other: a second store on the same nodes does not help, on other processes it does.'
      )
  }
]

const KEEPS_THROUGHPUT = `at least ${100 * THROUGHPUT_SHARE_MIN} % of the throughput at the smallest size`
const MACHINES =
  'Here all members share the cores of one machine; on machines of their own, the processor time of the leader is what grows.'
const SUBSCRIBE = 'One subscriber that looks at what has changed costs less than many that each look.'

function keepsThroughput(points) {
  return ({ figures }) => figures.calls >= THROUGHPUT_SHARE_MIN * points[0].figures.calls
}

/** Up to which of the measured sizes a limit holds, and from which on it does not. */
function split(points, isWithin, say, limit, otherwise = 'Split a store before that size.') {
  const missed = points.findIndex(point => !isWithin(point))
  if (missed === -1)
    return [`Up to ${say(points.at(-1).x)}, the most that was measured, the limit holds (${limit}).`]
  if (missed === 0) return [`Every size that was measured misses the limit (${limit}).`]
  const [last, first] = [points[missed - 1], points[missed]]
  return [`Up to ${say(last.x)} the limit holds (${limit}); with ${say(first.x)} it does not. ${otherwise}`]
}

module.exports = { CURVES }
