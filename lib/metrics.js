// Makes Prometheus metrics from the status of nodes and the channels of diagnostics.js.
//
// Called by metrics.js. A metric that means the same as one of etcd has the same name after the prefix: dashboards
// and alerts for etcd work with `prefix: 'etcd_'`.

'use strict'

const diagnostics = require('./diagnostics')
const errors = require('./errors')

const PREFIX_DEFAULT = 'conflux_'

/** Seconds: a call takes a round trip or two, or it waits for an election. */
const BUCKETS_DEFAULT = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** One of the names below. */
const PROBE = 'server_has_leader'

/** The call names no existing method: names that callers invent must not become labels. */
const UNKNOWN_METHOD = 'ERR_CONFLUX_UNKNOWN_METHOD'

const OPTIONS = ['register', 'prefix', 'labels', 'callDurationBuckets']

/** Read from the status when Prometheus asks. */
const GAUGES = {
  server_has_leader: ['Whether the node knows a leader.', status => Number(status.leader !== null)],
  server_is_leader: ['Whether the node is the leader.', status => Number(status.role === 'leader')],
  server_is_learner: ['Whether the node is a member that does not vote.', isLearner],
  server_proposals_committed_total: [
    'The last index of the log that is known to be on a quorum.',
    status => status.commitIndex
  ],
  server_proposals_applied_total: [
    'The last index of the log that is in the state.',
    status => status.appliedIndex
  ],
  server_proposals_pending: ['Calls of the node that have not ended.', status => status.pending],
  term: ['Counts the elections.', status => status.term],
  cluster_size: ['How many voters the cluster is to have.', status => status.clusterSize],
  voters: ['Members that vote.', status => countVoters(status, () => true)],
  voters_active: [
    'Voters that were heard within the last election timeout; only the leader hears all of them.',
    status => countVoters(status, member => member.active)
  ],
  learners: ['Members that do not vote.', status => status.members.length - countVoters(status, () => true)],
  quorum_lost: ['Whether too few voters are heard to commit anything.', status => Number(status.quorum.lost)],
  caught_up: [
    'Whether the node has everything that was committed when it joined.',
    status => +status.caughtUp
  ],
  log_entries: [
    'Entries of the log that no snapshot covers.',
    status => status.lastIndex - status.snapshotIndex
  ],
  snapshot_index: ['The last index that a snapshot covers.', status => status.snapshotIndex],
  dropped_frames: [
    'Frames that had no effect: forged, replayed, of another secret.',
    ({ droppedFrames }) => Object.values(droppedFrames).reduce((sum, count) => sum + count)
  ]
}

function isLearner({ id, members }) {
  const own = members.find(member => member.id === id)
  return Number(own !== undefined && !own.voter)
}

const countVoters = ({ members }, condition) => members.filter(one => one.voter && condition(one)).length

/** One for each registry and prefix: nodes of one process share the metrics, and differ in the label `node`. */
const collectors = new WeakMap()

/**
 * Adds the metrics of a node to a registry, until the node has ended.
 *
 * @param options as those of prom-client's `collectDefaultMetrics`.
 * @returns a function that ends it before.
 */
function collectMetrics(node, options = {}) {
  for (const key of Object.keys(options)) {
    if (!OPTIONS.includes(key))
      throw errors.invalidArgument(`\`collectMetrics\`: the option "${key}" is unknown`)
  }
  const client = loadClient()
  const { register = client.register, prefix = PREFIX_DEFAULT, labels = {} } = options
  if (!collectors.has(register)) collectors.set(register, new Map())
  const ofRegister = collectors.get(register)
  // A registry may have been cleared.
  const isThere = ofRegister.has(prefix) && register.getSingleMetric(prefix + PROBE) !== undefined
  if (!isThere) ofRegister.set(prefix, new Collector(client, { ...options, register, prefix, labels }))
  return ofRegister.get(prefix).add(node, labels)
}

/** It is an optional peer: only applications that collect metrics need it. */
function loadClient() {
  try {
    return require('prom-client')
  } catch (cause) {
    const message = '`conflux/metrics` needs the package prom-client: `npm install prom-client`'
    throw new Error(message, { cause })
  }
}

class Collector {
  /** The labels of each node. */
  #nodes = new Map()
  #metrics
  #leaders = new WeakMap()
  #isSubscribed = false

  constructor(client, { register, prefix, labels, callDurationBuckets = BUCKETS_DEFAULT }) {
    const own = Object.keys(labels)
    const make = (kind, name, help, labelNames, more) =>
      new client[kind]({
        name: prefix + name,
        help,
        labelNames: ['node', ...own, ...labelNames],
        registers: [register],
        ...more
      })
    const nodes = this.#nodes
    for (const [name, [help, read]] of Object.entries(GAUGES)) {
      make('Gauge', name, help, [], {
        collect() {
          this.reset()
          for (const [node, labels] of nodes) this.set(labels, read(node.status()))
        }
      })
    }
    this.#metrics = {
      leaderChanges: make(
        'Counter',
        'server_leader_changes_seen_total',
        'Leaders that the node has seen.',
        []
      ),
      failed: make(
        'Counter',
        'server_proposals_failed_total',
        'Calls of the node that ended without an answer of their method: not applied, or unknown.',
        []
      ),
      calls: make(
        'Histogram',
        'call_duration_seconds',
        'From a call to its outcome.',
        ['method', 'outcome'],
        {
          buckets: callDurationBuckets
        }
      ),
      snapshots: make(
        'Histogram',
        'snapshot_duration_seconds',
        'How long a snapshot occupied JavaScript, in one or many slices.',
        [],
        {
          buckets: callDurationBuckets
        }
      ),
      warnings: make('Counter', 'warnings_total', 'Warnings of the node, by code.', ['code'])
    }
  }

  add(node, labels) {
    const own = { ...labels, node: node.status().id }
    this.#nodes.set(node, own)
    this.#leaders.set(node, node.status().leader)
    // So that the first change already gives a rate.
    this.#metrics.leaderChanges.inc(own, Number(node.status().leader !== null))
    this.#metrics.failed.inc(own, 0)
    this.#subscribe()
    const remove = () => this.#remove(node)
    node.once('close', remove)
    return () => {
      node.off('close', remove)
      remove()
    }
  }

  #remove(node) {
    this.#nodes.delete(node)
    if (this.#nodes.size > 0 || !this.#isSubscribed) return
    this.#isSubscribed = false
    for (const [channel, listener] of this.#subscriptions) channel.unsubscribe(listener)
  }

  /** Only while there are nodes: calls that are not traced cost nothing. */
  #subscribe() {
    if (this.#isSubscribed) return
    this.#isSubscribed = true
    for (const [channel, listener] of this.#subscriptions) channel.subscribe(listener)
  }

  #subscriptions = [
    [diagnostics.call.asyncEnd, call => this.#ended(call)],
    [diagnostics.election, message => this.#elected(message)],
    [diagnostics.snapshot, message => this.#snapshot(message)],
    [diagnostics.warning, message => this.#warned(message)]
  ]

  #ended({ node, method, outcome, milliseconds, error }) {
    const labels = this.#nodes.get(node)
    if (labels === undefined || outcome === undefined) return
    const known = typeof method === 'string' && error?.code !== UNKNOWN_METHOD ? method : ''
    this.#metrics.calls.observe({ ...labels, method: known, outcome }, milliseconds / 1000)
    if (outcome === 'not-applied' || outcome === 'unknown') this.#metrics.failed.inc(labels)
  }

  #elected({ node, leader }) {
    const labels = this.#nodes.get(node)
    if (labels === undefined) return
    if (leader !== null && leader !== this.#leaders.get(node)) this.#metrics.leaderChanges.inc(labels)
    this.#leaders.set(node, leader)
  }

  #snapshot({ node, what, milliseconds }) {
    const labels = this.#nodes.get(node)
    if (labels !== undefined && what === 'taken') this.#metrics.snapshots.observe(labels, milliseconds / 1000)
  }

  #warned({ node, warning }) {
    const labels = this.#nodes.get(node)
    if (labels !== undefined) this.#metrics.warnings.inc({ ...labels, code: warning.code })
  }
}

module.exports = { collectMetrics }
