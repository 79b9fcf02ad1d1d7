// `conflux/recipes`: locks, presence and more, to mount beside an application's own state. Its types are in recipes.d.ts.

'use strict'

require('./lib/node-version')

const { compose } = require('./lib/recipes/compose')
const flags = require('./lib/recipes/flags')
const { invalidation } = require('./lib/recipes/invalidation')
const invalidationClient = require('./lib/recipes/invalidation-client')
const jobs = require('./lib/recipes/jobs')
const { locks } = require('./lib/recipes/locks')
const locksClient = require('./lib/recipes/locks-client')
const { presence } = require('./lib/recipes/presence')
const presenceClient = require('./lib/recipes/presence-client')
const rateLimiter = require('./lib/recipes/rate-limiter')
const { registry } = require('./lib/recipes/registry')
const registryClient = require('./lib/recipes/registry-client')

module.exports = {
  compose,
  flags: Object.assign(flags.flags, { client: flags.client }),
  invalidation: Object.assign(invalidation, invalidationClient),
  jobs: Object.assign(jobs.jobs, { client: jobs.client }),
  locks: Object.assign(locks, locksClient),
  presence: Object.assign(presence, presenceClient),
  rateLimiter: Object.assign(rateLimiter.rateLimiter, { client: rateLimiter.client }),
  registry: Object.assign(registry, registryClient)
}
