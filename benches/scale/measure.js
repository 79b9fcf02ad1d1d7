/**
 * Measures a curve, each point on a fresh cluster and with a deadline. Called by `scale.js` and by a test.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { ScaleCluster } = require('./cluster')

const DEADLINE_SECONDS = 90

/**
 * @param settings `isQuick`, `redis`, `seconds` of a window.
 * @returns of each size `{ x, figures }`, or `{ x, failed }`.
 */
async function measureCurve(curve, settings, progress = () => {}) {
  const points = []
  for (const x of curve.sizes(settings)) {
    progress(`${curve.title}: ${x} ${curve.x.unit}`)
    points.push(await measurePoint(curve, x, settings))
  }
  return points
}

async function measurePoint(curve, x, { redis, seconds }) {
  const clusters = []
  const start = options => {
    const cluster = new ScaleCluster(redis, options)
    clusters.push(cluster)
    return cluster
  }
  const limit = new AbortController()
  const late = delay(DEADLINE_SECONDS * 1000, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`not done within ${DEADLINE_SECONDS} s`)
  })
  try {
    const measured = curve.measure({ x, start, seconds })
    // After the deadline its processes are killed, and its result does not matter.
    measured.catch(() => {})
    return { x, figures: await Promise.race([measured, late]) }
  } catch (error) {
    return { x, failed: error.message.split('\n')[0] }
  } finally {
    limit.abort()
    late.catch(() => {})
    for (const cluster of clusters) cluster.close()
  }
}

module.exports = { measureCurve }
