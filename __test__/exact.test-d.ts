// Compiled, never run: under `exactOptionalPropertyTypes` a variable of the environment is an option as it is.
import conflux = require('..')

declare const env: Record<string, string | undefined>

export const node = conflux({
  id: 'a',
  clusterSize: 1,
  channel: { name: 'redis', connectionString: env.REDIS, channelName: env.CHANNEL, password: env.PASSWORD },
  storage: env.DATA ? { path: env.DATA } : undefined,
  version: env.VERSION,
  application: env.APPLICATION,
  maxPending: env.MAX_PENDING === undefined ? undefined : Number(env.MAX_PENDING),
  initialState: 0,
  methods: { add: (n: number) => n },
  reduce: (sum, n) => sum + n
})
node.ready({ timeout: env.TIMEOUT ? 1000 : undefined })
node.close({ timeout: undefined, leave: undefined })
node.sync({ timeout: undefined })
