// next-cache-handler.js: a cache handler of Next.js whose `revalidateTag` reaches every process before it returns
//
// In next.config.js: cacheHandler: require.resolve('./next-cache-handler.js'), cacheMaxMemorySize: 0
//
// Each process keeps its own pages in memory. Run alone, it shows that with two handlers: node examples/next-cache-handler.js
const conflux = require('conflux')
const { compose, invalidation } = require('conflux/recipes')

const { CONFLUX_ID = 'a', CLUSTER_SIZE = '1', REDIS } = process.env
const PREFIX_OF_TAGS = 'x-next-cache-tags'

const options = compose({ cache: invalidation() })

/** Pages in memory, and the invalidations of all processes. */
class Cache {
  #entries = new Map()
  #invalidation
  #joined

  constructor(node) {
    this.#invalidation = invalidation.client(node, 'cache', tags => this.#forget(tags))
    this.#joined = this.#invalidation.join()
    this.#joined.catch(console.error)
  }

  async get(key) {
    return this.#entries.get(key) ?? null
  }

  /** Before other processes wait for this one, it might miss an invalidation. */
  async set(key, value, context = {}) {
    await this.#joined
    const tags = [...(context.tags ?? []), ...tagsOf(value)]
    if (value === null) this.#entries.delete(key)
    else this.#entries.set(key, { value, tags, lastModified: Date.now() })
  }

  revalidateTag(tags) {
    return this.#invalidation.invalidate(tags)
  }

  #forget(tags) {
    for (const [key, entry] of this.#entries) {
      if (tags === null || entry.tags.some(tag => tags.includes(tag))) this.#entries.delete(key)
    }
  }
}

/** Next puts the tags of a page into a header. */
function tagsOf(value) {
  const header = value?.headers?.[PREFIX_OF_TAGS]
  return typeof header === 'string' ? header.split(',') : []
}

let cache

/** Next makes one for each request. */
class CacheHandler {
  constructor() {
    cache ??= new Cache(
      conflux({
        id: CONFLUX_ID,
        clusterSize: Number(CLUSTER_SIZE),
        channel: { name: 'redis', connectionString: REDIS },
        sessions: true,
        ...options
      })
    )
  }

  get(key) {
    return cache.get(key)
  }

  set(key, value, context) {
    return cache.set(key, value, context)
  }

  revalidateTag(tags) {
    return cache.revalidateTag(tags)
  }

  resetRequestCache() {}
}

module.exports = CacheHandler

async function main() {
  const channel = { name: 'memory', channelName: 'next-cache-example' }
  const nodes = ['a', 'b'].map(id => conflux({ id, clusterSize: 2, channel, sessions: true, ...options }))
  const [a, b] = nodes.map(node => new Cache(node))
  await a.set('/products', { kind: 'PAGE' }, { tags: ['products'] })
  await b.set('/products', { kind: 'APP_PAGE', headers: { [PREFIX_OF_TAGS]: 'products,shop' } })
  await b.set('/about', { kind: 'PAGE' })
  await a.revalidateTag('products')
  const left = [await a.get('/products'), await b.get('/products'), (await b.get('/about')).value.kind]
  console.log('after revalidateTag on one process:', left)
  if (left.join() !== ',,PAGE') process.exitCode = 1
  await Promise.all(nodes.map(node => node.close()))
}

if (require.main === module) main()
