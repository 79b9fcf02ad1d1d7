// Compiled, never run: `conflux/metrics` takes any node, and the options of prom-client.
import conflux = require('..')
import { Registry } from 'prom-client'
import { collectMetrics, type MetricsOptions } from '../metrics'

const node = conflux({
  id: 'a',
  clusterSize: 1,
  channel: { name: 'memory' },
  initialState: 0,
  methods: { add: (n: number) => n },
  reduce: (sum, n) => sum + n,
  logger: { debug() {}, info(message: string, facts: object) {}, warn() {}, error() {} }
})
const options: MetricsOptions = { register: new Registry(), prefix: 'etcd_', labels: { shop: 'x' } }
const end: () => void = collectMetrics(node, options)
collectMetrics(node)
// @ts-expect-error there is no such option
collectMetrics(node, { registry: new Registry() })
const status: conflux.Status = node.toJSON()
const logger: conflux.Logger = { debug() {}, info() {}, warn() {}, error() {} }
// @ts-expect-error it lacks functions
const none: conflux.Logger = { info() {} }
export { end, logger, none, status }
