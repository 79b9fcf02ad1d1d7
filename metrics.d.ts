import type { Registry } from 'prom-client'
import conflux = require('./index')

/**
 * Adds the metrics of a node to a registry of prom-client (a peer dependency: `npm install prom-client`), until the
 * node has ended. Nodes of one process share the metrics, and differ in the label `node`, which is the node's id.
 *
 * A metric that means the same as one of etcd has the same name after the prefix (`conflux_server_has_leader`). The
 * latency of calls is the histogram `conflux_call_duration_seconds`. docs/observability.md lists all.
 *
 * @example
 * ```js
 * const { register } = require('prom-client')
 * const { collectMetrics } = require('conflux/metrics')
 *
 * collectMetrics(node)
 * http.createServer(async (request, response) => response.end(await register.metrics()))
 * ```
 *
 * @returns a function that ends it before the node has ended.
 * @throws where prom-client is not installed, or an option is unknown.
 */
export function collectMetrics(node: conflux.Node<any, any>, options?: MetricsOptions): () => void

/** As far as they go, those of prom-client's `collectDefaultMetrics`. */
export interface MetricsOptions {
  /** Default: prom-client's own. */
  register?: Registry<any> | undefined
  /** Of the names; with `etcd_`, dashboards and alerts for etcd work. Default: `conflux_`. */
  prefix?: string | undefined
  /** Added to every metric. */
  labels?: Record<string, string> | undefined
  /** The upper bounds of the histograms' buckets, in seconds. Default: from 0.0005 to 10. */
  callDurationBuckets?: number[] | undefined
}
