// `conflux/recipes`: locks, presence and more, to mount beside an application's own state. Its types are in recipes.d.ts.

'use strict'

require('./lib/node-version')

const { compose } = require('./lib/recipes/compose')
const { flags, client: flagsClient } = require('./lib/recipes/flags')
const { invalidation } = require('./lib/recipes/invalidation')
const invalidationClient = require('./lib/recipes/invalidation-client')
const { jobs, client: jobsClient } = require('./lib/recipes/jobs')
const { locks } = require('./lib/recipes/locks')
const locksClient = require('./lib/recipes/locks-client')
const { presence } = require('./lib/recipes/presence')
const presenceClient = require('./lib/recipes/presence-client')
const { rateLimiter, client: rateLimiterClient } = require('./lib/recipes/rate-limiter')
const { registry } = require('./lib/recipes/registry')
const registryClient = require('./lib/recipes/registry-client')

Object.assign(flags, { client: flagsClient })
Object.assign(invalidation, invalidationClient)
Object.assign(jobs, { client: jobsClient })
Object.assign(locks, locksClient)
Object.assign(presence, presenceClient)
Object.assign(rateLimiter, { client: rateLimiterClient })
Object.assign(registry, registryClient)

// Plain names, so that Node finds them for `import { locks } from 'conflux/recipes'`.
module.exports = { compose, flags, invalidation, jobs, locks, presence, rateLimiter, registry }
