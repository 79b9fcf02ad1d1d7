// Points by key that expire, as a recipe, and a limiter of the package rate-limiter-flexible that keeps its points there.
//
// Called by recipes.js. The package brings the limits; this is a store like its own ones for Redis or Mongo. The time is
// that of the cluster.

'use strict'

const { loadPeer } = require('../peer')
const { builtIn } = require('./built-in')
const { ClusterTime } = require('./cluster-time')
const { Mount } = require('./mount')
const table = require('./table')

const PACKAGE = 'rate-limiter-flexible'
const MAJOR = 11

const INITIAL_STATE = Object.freeze({ recipe: 'rateLimiter/1', points: Object.freeze({}) })

/** The recipe. */
function rateLimiter() {
  return builtIn({ name: 'rateLimiter', initialState: INITIAL_STATE, methods, reduce })
}

const isOver = ({ expire }, at) => expire !== null && expire <= at

const methods = {
  /** Adds points. The duration, in milliseconds, begins with the first; 0: they do not expire. `force`: sets them instead. */
  add(key, points, duration, force) {
    const at = this.now()
    const last = table.get(this.state.points, key)
    const isNew = force || last === undefined || isOver(last, at)
    const expire = isNew ? (duration > 0 ? at + duration : null) : last.expire
    return { type: 'ADDED', key, points: isNew ? points : last.points + points, expire, at }
  },

  /** Returns nothing if there are no points. */
  remove(key) {
    const last = table.get(this.state.points, key)
    return last === undefined || isOver(last, this.now()) ? null : { type: 'REMOVED', key }
  }
}

function reduce(state, action) {
  switch (action.type) {
    case 'ADDED': {
      const { key, points, expire, at } = action
      const swept = table.sweep(state.points, key, each => !isOver(each, at))
      return { ...state, points: table.set(swept, key, { points, expire }) }
    }
    case 'REMOVED':
      return { ...state, points: table.set(state.points, action.key, undefined) }
    default:
      return state
  }
}

/**
 * A limiter whose points are in the mounted recipe.
 *
 * @param options those of the package, without a `storeClient`.
 */
function client(node, key, options = {}) {
  const mount = new Mount(node, key, rateLimiter())
  const Limiter = limiterOf(loadPeer(PACKAGE, MAJOR, '`rateLimiter.client`'))
  return new Limiter(mount, options)
}

/** Made once for each copy of the package. */
const limiters = new WeakMap()

function limiterOf(peer) {
  if (!limiters.has(peer)) limiters.set(peer, defineLimiter(peer))
  return limiters.get(peer)
}

/** The package does not export the class of all its stores, but those that extend it. */
function defineLimiter({ RateLimiterMemcache, RateLimiterRes }) {
  const RateLimiterStoreAbstract = Object.getPrototypeOf(RateLimiterMemcache)

  class RateLimiterConflux extends RateLimiterStoreAbstract {
    #mount
    #time

    constructor(mount, options) {
      super(options)
      this.#mount = mount
      this.#time = ClusterTime.of(mount.node)
      this.client = mount.node
    }

    async _upsert(rlKey, points, msDuration, forceExpire = false) {
      return this.#mount.perform('add', [rlKey, points, msDuration, forceExpire])
    }

    async _get(rlKey) {
      await this.#mount.node.sync()
      const at = this.#time.now()
      const last = table.get(this.#mount.state.points, rlKey)
      return last === undefined || isOver(last, at) ? null : { ...last, at }
    }

    async _delete(rlKey) {
      return (await this.#mount.perform('remove', [rlKey])) !== undefined
    }

    _getRateLimiterRes(rlKey, changedPoints, { points, expire, at }) {
      const remaining = Math.max(this.points - points, 0)
      const msBeforeNext = expire === null ? -1 : Math.max(expire - at, 0)
      return new RateLimiterRes(remaining, msBeforeNext, points, points === changedPoints)
    }
  }
  return RateLimiterConflux
}

module.exports = { client, rateLimiter }
