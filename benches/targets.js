/**
 * The targets of conflux, and what a run reached of them. Called by `bench.js` and `docs.js`. It only reads: a target
 * that is missed is reported, and fails nothing.
 */
'use strict'

const { figure, format } = require('./figures')

/** `[head, ...rows]`, all cells text: what, target, reached, whether it is met. */
function targets(records) {
  const of = (scenario, name, title = '', peer = 'conflux') => figure(records, scenario, title, peer, name)
  const bare = of('latency-redis', 'leader p50', '', 'bare')
  const rate = (scenario, title, peer) => of(scenario, '/s', title, peer)
  const redis = rate('throughput-redis', '3,000')
  const incr = rate('throughput-redis', '3,000', 'incr')
  const memory = rate('throughput-memory', '3,000')
  const latency = (name, peer) => of('latency-redis', name, '', peer)
  const tcpRate = rate('throughput-redis', '3,000', 'conflux-tcp')
  const megabytes = (title, bytes) => {
    const perSecond = rate('payload', title, 'conflux-tcp')
    return known(perSecond) && (perSecond * bytes) / 1e6
  }
  const sync = of('durable', 'one fsync here, p50 (ms)', 'disk')
  const durable = name => [of('durable', name, 'disk'), of('durable', name, 'memory')]
  const [diskRate, storelessRate] = durable('3,000 in flight (/s)')
  const [diskLatency, storelessLatency] = durable('sequential p50 (ms)')
  const life = name => of('long-life', name)
  const pack = name => of('package', name)

  return [
    ['', 'target', 'reached', ''],
    atMost('sequential, memory, 3 nodes in a process, p50', of('latency-memory', 'leader p50'), 0.1, 'ms'),
    ratioAtMost(
      'sequential from the leader, Redis, p50',
      of('latency-redis', 'leader p50'),
      bare,
      2,
      'round trips'
    ),
    ratioAtMost(
      'sequential from a follower, Redis, p50',
      of('latency-redis', 'follower p50'),
      bare,
      4,
      'round trips'
    ),
    atLeast('3,000 in flight, Redis, 3 processes', redis, 50_000, '/s'),
    ratioAtLeast('3,000 in flight, Redis, to INCR on one Redis', redis, incr, 1),
    atLeast('3,000 in flight, memory, 3 nodes in a process', memory, 50_000, '/s'),
    ratioAtLeast('30,000 in flight to 3,000, Redis', rate('throughput-redis', '30,000'), redis, 0.9),
    ratioAtLeast('30,000 in flight to 3,000, memory', rate('throughput-memory', '30,000'), memory, 0.9),
    ratioAtLeast('log position 1 M to 1 k', life('at the end (/s)'), life('from 1 k (/s)'), 0.9),
    ratioAtLeast(
      'getProvisionalState() in each method to none',
      rate('provisional', 'in each method'),
      rate('provisional', 'none'),
      0.9
    ),
    ratioAtLeast('9 nodes to 3, Redis', rate('sizes', '9'), rate('sizes', '3'), 0.35),
    ratioAtLeast('durable to memory storage, 3,000 in flight', diskRate, storelessRate, 0.5),
    atMost(
      'durable, sequential: more than memory storage',
      known(diskLatency, storelessLatency) && diskLatency - storelessLatency,
      known(sync) && 2 * sync,
      'ms',
      '2 fsyncs: '
    ),
    atMost('kill -9 of the leader → next commit, p50', of('failover', 'gap'), 700, 'ms'),
    atMost('last node started → first perform, p50', of('cold-start', 'took'), 150, 'ms'),
    atMost('idle cluster of 3, a node, of a core', of('idle', 'most of a node (% of a core)'), 1, '%'),
    ratioAtMost(
      'leader memory after 1 M actions to 100 k',
      life('memory at the end (MB)'),
      life('memory after a tenth (MB)'),
      1.2
    ),
    atMost('sequential from the leader, tcp, p50', latency('leader p50', 'conflux-tcp'), 0.15, 'ms'),
    ratioAtMost(
      'sequential from the leader, tcp to Redis',
      latency('leader p50', 'conflux-tcp'),
      latency('leader p50', 'conflux'),
      0.6
    ),
    atMost('sequential from a follower, tcp, p50', latency('follower p50', 'conflux-tcp'), 0.23, 'ms'),
    atMost('sequential from the leader, local, p50', latency('leader p50', 'conflux-local'), 0.12, 'ms'),
    atLeast('3,000 in flight, tcp, 3 processes', tcpRate, 210_000, '/s'),
    ratioAtLeast('3,000 in flight, tcp, to INCR on one Redis', tcpRate, incr, 1),
    atLeast('actions of 1 KiB, tcp', megabytes('1 KiB', 1024), 60, 'MB/s'),
    atLeast('actions of 64 KiB, tcp', megabytes('64 KiB', 65_536), 150, 'MB/s'),
    atLeast('actions of 64 KiB of rows, tcp', megabytes('64 KiB of rows', 65_536), 40, 'MB/s'),
    atMost(
      'kill -9 of the leader → next commit, tcp, p50',
      of('failover', 'gap', '', 'conflux-tcp'),
      350,
      'ms'
    ),
    atMost(
      'last node started → first perform, tcp, p50',
      of('cold-start', 'took', '', 'conflux-tcp'),
      30,
      'ms'
    ),
    atMost(
      'idle cluster of 3, tcp, a node, of a core',
      of('idle', 'most of a node (% of a core)', '', 'conflux-tcp'),
      0.5,
      '%'
    ),
    atMost("require('conflux')", pack('require (ms)'), 30, 'ms'),
    atMost('binary, stripped', pack('binary (MB)'), 6, 'MB'),
    atMost('runtime npm dependencies', pack('runtime dependencies'), 0, '')
  ]
}

function known(...values) {
  return values.every(value => value !== undefined) || undefined
}

function atMost(what, reached, target, unit, why = '') {
  const isMet = known(reached, target) && reached <= target
  return [what, `≤ ${why}${format(target, unit)}`, format(reached, unit), verdict(isMet)]
}

function atLeast(what, reached, target, unit) {
  return [
    what,
    `≥ ${format(target, unit)}`,
    format(reached, unit),
    verdict(known(reached) && reached >= target)
  ]
}

function ratioAtMost(what, ours, theirs, target, unit = '') {
  const ratio = known(ours, theirs) && ours / theirs
  return [what, `≤ ${target} × ${unit}`.trim(), times(ratio), verdict(known(ratio) && ratio <= target)]
}

function ratioAtLeast(what, ours, theirs, target) {
  const ratio = known(ours, theirs) && ours / theirs
  return [what, `≥ ${target} ×`, times(ratio), verdict(known(ratio) && ratio >= target)]
}

function times(ratio) {
  return ratio === undefined ? '–' : `${ratio.toFixed(2)} ×`
}

function verdict(isMet) {
  return isMet === undefined ? 'not measured' : isMet ? 'met' : 'not met'
}

module.exports = { targets }
