// Runs that happen once in a fleet, as a recipe and its client, which is a `RunCoordinator` of node-cron.
//
// Called by recipes.js. Every process asks for each run, and the first gets it. A run is named `job:time` with a time as `toISOString` gives it;
// of each job the state keeps the latest run only, and none before it is given to a process that is late. Other names
// are kept for their `ttl`.

'use strict'

const errors = require('../errors')
const { kindOf } = require('../kind')
const { builtIn } = require('./built-in')
const checks = require('./checks')
const { Mount } = require('./mount')
const table = require('./table')

const INITIAL_STATE = Object.freeze({ recipe: 'jobs/1', jobs: Object.freeze({}) })

/** The recipe. */
function jobs() {
  return builtIn({ name: 'jobs', initialState: INITIAL_STATE, methods, reduce })
}

/** `{ job, slot }`; without a time at its end, the name is a job of its own, and `slot` null. */
function parse(run) {
  const [, job, slot] = /^(.*):(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)$/s.exec(run) ?? []
  return job === undefined ? { job: run, slot: null } : { job, slot }
}

const methods = {
  /** Returns nothing if another process has the run. */
  claim(run, ttl, id) {
    const { job, slot } = parse(run)
    const last = table.get(this.state.jobs, job)
    const at = this.now()
    if (last !== undefined) {
      const isTaken = slot === null || last.slot === null ? last.until > at : last.slot >= slot
      if (isTaken) return null
    }
    return { type: 'CLAIMED', job, slot, id, at, until: at + ttl }
  },

  /** Returns nothing if the run is not the latest. */
  complete(run) {
    const { job, slot } = parse(run)
    const last = table.get(this.state.jobs, job)
    if (last === undefined || last.slot !== slot || last.completedAt !== null) return null
    return { type: 'COMPLETED', job, slot, at: this.now() }
  }
}

function reduce(state, action) {
  switch (action.type) {
    case 'CLAIMED': {
      const { job, slot, id, at, until } = action
      const isKept = last => last.slot !== null || last.until > at
      const swept = table.sweep(state.jobs, job, isKept)
      return {
        ...state,
        jobs: table.set(swept, job, { slot, id, startedAt: at, until, completedAt: null })
      }
    }
    case 'COMPLETED': {
      const last = table.get(state.jobs, action.job)
      return { ...state, jobs: table.set(state.jobs, action.job, { ...last, completedAt: action.at }) }
    }
    default:
      return state
  }
}

const OPTIONS = { ttl: checks.milliseconds(1), timeout: checks.milliseconds(0), signal: checks.signal }

/** A day: longer than any clock is wrong. */
const TTL_MS_DEFAULT = 24 * 60 * 60 * 1000

/** @returns a client of the jobs that are mounted under this key. */
function client(node, key) {
  return new Jobs(new Mount(node, key, jobs()))
}

class Jobs {
  #mount
  #id

  constructor(mount) {
    this.#mount = mount
    this.#id = mount.node.status().id
  }

  /** For node-cron: whether this process is to run it. */
  shouldRun = async (run, ttl) => {
    checks.name('a run', run)
    const rule = checks.milliseconds(1)(ttl)
    if (rule !== undefined) throw errors.invalidCall(`shouldRun: the ttl must be ${rule}, got ${String(ttl)}`)
    // After this time another run is due, or node-cron has no use for the answer.
    return (await this.#mount.perform('claim', [run, ttl, this.#id], { timeout: ttl })) !== undefined
  }

  /** For node-cron. */
  onComplete = async run => {
    await this.#mount.perform('complete', [run])
  }

  /** Calls the function unless the run was claimed before. Resolves with `{ ran, result }`. */
  async runOnce(run, options, task) {
    if (typeof options === 'function') [options, task] = [undefined, options]
    if (typeof task !== 'function')
      throw errors.invalidCall(`\`runOnce\` takes a function, got ${kindOf(task)}`)
    checks.name('a run', run)
    const { ttl = TTL_MS_DEFAULT, ...callOptions } = checks.options('runOnce', options, OPTIONS)
    const claimed = await this.#mount.perform('claim', [run, ttl, this.#id], callOptions)
    if (claimed === undefined) return { ran: false, result: undefined }
    try {
      return { ran: true, result: await task() }
    } finally {
      await this.#mount.perform('complete', [run])
    }
  }

  /** The latest run of each job, as this node knows, sorted by job. */
  list() {
    return table
      .entries(this.#mount.state.jobs)
      .map(([job, { slot, id, startedAt, completedAt }]) => ({ job, slot, id, startedAt, completedAt }))
      .sort((a, b) => (a.job < b.job ? -1 : 1))
  }
}

module.exports = { client, jobs }
