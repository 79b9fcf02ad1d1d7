/**
 * Lets five processes with disks work for long, and holds that they use at the end what they used before.
 *
 * CONFLUX_SOAK_SECONDS sets for how long (default 10). Memory is always printed, and checked from five minutes on: before, V8
 * is still making itself at home.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, quantile } = require('./cluster')

const SOAK_SECONDS = Number(process.env.CONFLUX_SOAK_SECONDS ?? 10)

const GROWTH_MAX = 1.1
const MEMORY_HELD_FROM_SECONDS = 300
const SAMPLES = 100

test(
  `five processes for ${SOAK_SECONDS} s: handles and memory are flat`,
  { skip: process.platform !== 'linux' && 'reads /proc' },
  async t => {
    const redis = await startRedisServer()
    t.after(() => redis.kill())
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-soak-'))
    const cluster = new Cluster(redis.url, { size: 5, folder })
    t.after(async () => {
      await cluster.kill()
      fs.rmSync(folder, { recursive: true, force: true })
    })
    await cluster.leader()
    cluster.load({ inFlight: 5, pause: 10 })
    await cluster.acknowledgements(1000)

    const samples = []
    for (let i = 0; i < SAMPLES; i++) {
      await delay((SOAK_SECONDS * 1000) / SAMPLES)
      samples.push(cluster.living.map(usage))
    }

    // The second fifth, when all is warm, against the last.
    const [early, late] = [samples.slice(SAMPLES / 5, (2 * SAMPLES) / 5), samples.slice((-1 * SAMPLES) / 5)]
    for (const [i, { id }] of cluster.living.entries()) {
      const median = (samples, what) =>
        quantile(
          samples.map(sample => sample[i][what]),
          0.5
        )
      const [memoryBefore, memory] = [median(early, 'memoryMiB'), median(late, 'memoryMiB')]
      const [handlesBefore, handles] = [median(early, 'handles'), median(late, 'handles')]
      t.diagnostic(
        `${id}: ${memoryBefore} MiB, then ${memory} MiB; ${handlesBefore} handles, then ${handles}`
      )
      assert.ok(handles <= handlesBefore * GROWTH_MAX, `${id}: from ${handlesBefore} to ${handles} handles`)
      if (SOAK_SECONDS >= MEMORY_HELD_FROM_SECONDS) {
        assert.ok(memory <= memoryBefore * GROWTH_MAX, `${id}: from ${memoryBefore} to ${memory} MiB`)
      }
    }
    const { acknowledged } = await cluster.settle()
    t.diagnostic(`${acknowledged} acknowledged, 0 lost, 0 doubled`)
    await cluster.close()
  }
)

function usage({ pid }) {
  const kib = Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1])
  return { memoryMiB: Math.round(kib / 1024), handles: fs.readdirSync(`/proc/${pid}/fd`).length }
}
