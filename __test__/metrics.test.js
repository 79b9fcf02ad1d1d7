// Shows that `conflux/metrics` gives Prometheus what a node does, and that page and dashboard name the same
// metrics.

'use strict'

const assert = require('node:assert/strict')
const { channel } = require('node:diagnostics_channel')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const { Registry } = require('prom-client')

const { collectMetrics } = require('../metrics')
const { cluster } = require('../testing')
const { openOne, rejection, until } = require('./nodes')
const { installPackage, makeEmptyProject, root, runFile } = require('./project')

const sum = {
  initialState: 0,
  methods: { add: n => (n < 0 ? new Error('only up') : n || null) },
  reduce: (s, n) => s + n
}

/** The samples of a metric, as `{ labels, value }`; of a histogram, those of its count. */
async function samples(register, name) {
  const { values } = await register.getSingleMetric(name).get()
  return values
    .filter(
      ({ metricName }) => metricName === undefined || metricName.endsWith('_count') || metricName === name
    )
    .map(({ labels, value }) => ({ labels, value }))
}

const valueOf = async (register, name) => (await samples(register, name)).map(({ value }) => value)

test('the gauges say what the status says', async t => {
  const register = new Registry()
  const node = openOne(t, sum)
  collectMetrics(node, { register })
  await node.ready()
  for (let i = 1; i <= 3; i++) await node.perform('add', [i])
  const status = node.status()
  const expected = {
    conflux_server_has_leader: 1,
    conflux_server_is_leader: 1,
    conflux_server_is_learner: 0,
    conflux_server_proposals_committed_total: status.commitIndex,
    conflux_server_proposals_applied_total: status.appliedIndex,
    conflux_server_proposals_pending: 0,
    conflux_term: status.term,
    conflux_cluster_size: 1,
    conflux_voters: 1,
    conflux_voters_active: 1,
    conflux_learners: 0,
    conflux_quorum_lost: 0,
    conflux_caught_up: 1,
    conflux_log_entries: status.lastIndex,
    conflux_snapshot_index: 0,
    conflux_dropped_frames: 0,
    conflux_server_leader_changes_seen_total: 1,
    conflux_server_proposals_failed_total: 0
  }
  for (const [name, value] of Object.entries(expected)) {
    assert.deepEqual(await samples(register, name), [{ labels: { node: 'a' }, value }], name)
  }
})

test('the histogram counts calls by method and outcome; unknown names are no labels', async t => {
  const register = new Registry()
  const node = openOne(t, sum)
  collectMetrics(node, { register, labels: { shop: 'x' } })
  await node.perform('add', [1])
  await node.perform('add', [0])
  await rejection(node.perform('add', [-1]))
  await rejection(node.perform('made up'))
  await new Promise(resolve => node.perform('add', [1], resolve))
  await rejection(node.perform('add', [new Map()]))
  await until('the callback to be counted', async () =>
    (await valueOf(register, 'conflux_call_duration_seconds')).includes(2)
  )
  const counts = await samples(register, 'conflux_call_duration_seconds')
  const labels = { node: 'a', shop: 'x' }
  assert.deepEqual(counts, [
    { labels: { ...labels, method: 'add', outcome: 'committed' }, value: 2 },
    { labels: { ...labels, method: 'add', outcome: 'nothing' }, value: 1 },
    { labels: { ...labels, method: 'add', outcome: 'refused' }, value: 1 },
    { labels: { ...labels, method: '', outcome: 'refused' }, value: 1 },
    { labels: { ...labels, method: 'add', outcome: 'not-applied' }, value: 1 }
  ])
  assert.deepEqual(await valueOf(register, 'conflux_server_proposals_failed_total'), [1])
  assert.match(
    await register.metrics(),
    /conflux_call_duration_seconds_bucket\{le="0\.0005",shop="x",node="a",method="add"/
  )
})

test('snapshots, warnings, leader changes and failed calls are counted', async t => {
  const register = new Registry()
  const c = await cluster(3, { ...sum, snapshot: { entries: 2 } })
  t.after(() => c.close())
  for (const node of c.nodes) collectMetrics(node, { register })
  const leader = await c.leader()
  await leader.perform('add', [1])
  await leader.perform('add', [1])
  const snapshots = async () =>
    (await valueOf(register, 'conflux_snapshot_duration_seconds')).reduce((a, b) => a + b, 0)
  await until('a snapshot', async () => (await snapshots()) > 0)

  c.crash(leader)
  const next = await c.leader()
  await until('a leader change', async () => {
    const changes = await samples(register, 'conflux_server_leader_changes_seen_total')
    return changes.find(({ labels }) => labels.node === next.status().id).value === 2
  })
  c.crash(next)
  const [last] = c.nodes.filter(node => node !== leader && node !== next)
  assert.equal((await rejection(last.perform('add', [1], 100))).outcome, 'unknown')
  const { id } = last.status()
  const failed = await samples(register, 'conflux_server_proposals_failed_total')
  assert.equal(failed.find(({ labels }) => labels.node === id).value, 1)
  await until('a warning', async () =>
    (await samples(register, 'conflux_warnings_total')).some(
      ({ labels }) => labels.node === id && labels.code === 'WARN_CONFLUX_QUORUM_LOST'
    )
  )
  // The status of what has crashed is no news.
  assert.deepEqual(
    (await samples(register, 'conflux_term')).map(({ labels }) => labels.node),
    [id]
  )
  assert.deepEqual(await valueOf(register, 'conflux_quorum_lost'), [1])
})

test('nodes of one process share the metrics; what has ended is collected and traced no more', async t => {
  const register = new Registry()
  const [a, b] = [openOne(t, sum), openOne(t, { ...sum, id: 'b' })]
  const end = collectMetrics(a, { register })
  collectMetrics(b, { register })
  const nodes = async () => (await samples(register, 'conflux_term')).map(({ labels }) => labels.node)
  assert.deepEqual(await nodes(), ['a', 'b'])
  const { hasSubscribers } = channel('tracing:conflux:call:asyncEnd')
  assert.equal(hasSubscribers, true)
  end()
  end()
  assert.deepEqual(await nodes(), ['b'])
  await b.close()
  assert.deepEqual(await nodes(), [])
  assert.equal(channel('tracing:conflux:call:asyncEnd').hasSubscribers, false)

  register.clear()
  const again = openOne(t, sum)
  collectMetrics(again, { register })
  assert.deepEqual(await nodes(), ['a'])
})

test('a prefix: dashboards and alerts for etcd find their metrics', async t => {
  const register = new Registry()
  const node = openOne(t, sum)
  collectMetrics(node, { register, prefix: 'etcd_' })
  await node.ready()
  assert.deepEqual(await valueOf(register, 'etcd_server_has_leader'), [1])
  const text = await register.metrics()
  for (const name of [
    'etcd_server_is_leader',
    'etcd_server_leader_changes_seen_total',
    'etcd_server_proposals_committed_total',
    'etcd_server_proposals_applied_total',
    'etcd_server_proposals_pending',
    'etcd_server_proposals_failed_total'
  ]) {
    assert.match(text, new RegExp(`^# TYPE ${name} `, 'm'))
  }
  assert.throws(() => collectMetrics(node, { registry: register }), /"registry" is unknown/)
})

/** The names of the metrics that a node has. */
async function namesOf(t) {
  const register = new Registry()
  collectMetrics(openOne(t, sum), { register })
  return (await register.getMetricsAsJSON()).map(({ name }) => name).sort()
}

test('the page lists every metric, and no other', async t => {
  const page = fs.readFileSync(path.join(root, 'docs', 'observability.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `(conflux_\w+)` \|/gm)].map(([, name]) => name)
  assert.deepEqual(rows.sort(), await namesOf(t))
})

test('the dashboard asks for metrics that there are, and for all but the index of the snapshot', async t => {
  const dashboard = JSON.parse(fs.readFileSync(path.join(root, 'docs', 'grafana-dashboard.json'), 'utf8'))
  const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
  const asked = new Set(
    queries.flatMap(query => query.match(/conflux_\w+/g)).map(name => name.replace(/_(bucket|count)$/, ''))
  )
  const names = await namesOf(t)
  assert.deepEqual(
    [...asked].filter(name => !names.includes(name)),
    []
  )
  assert.deepEqual(
    names.filter(name => !asked.has(name)),
    [
      'conflux_caught_up',
      'conflux_dropped_frames',
      'conflux_server_is_learner',
      'conflux_snapshot_index',
      'conflux_term'
    ]
  )
  for (const query of queries) {
    for (const [open, close] of ['()', '{}', '[]']) {
      assert.equal(query.split(open).length, query.split(close).length, query)
    }
    assert.match(query, /node=~"\$node"/)
  }
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
})

test('without prom-client, the error says what to install', async t => {
  const folder = makeEmptyProject(t)
  installPackage(folder)
  const file = path.join(folder, 'app.js')
  fs.writeFileSync(
    file,
    `const { collectMetrics } = require('conflux/metrics')
     try { collectMetrics({}) } catch ({ message }) { console.log(message) }`
  )
  const { output } = await runFile(file)
  assert.equal(output, '`conflux/metrics` needs the package prom-client: `npm install prom-client`\n')
})
