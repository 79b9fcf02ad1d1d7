// presence.js: the users that are online, over several servers of socket.io
//
// Needs socket.io and socket.io-client: npm install socket.io socket.io-client. Two servers and three clients in one process, to
// be run alone: node examples/presence.js. In production each server is a process of its own, behind a load balancer.
const { createServer } = require('node:http')
const { once } = require('node:events')
const { Server } = require('socket.io')
const { io } = require('socket.io-client')
const conflux = require('conflux')
const { compose, presence } = require('conflux/recipes')

/** A server whose clients see everyone that is online, at any server. */
async function serve(id) {
  const node = conflux({
    id,
    clusterSize: 2,
    channel: { name: 'memory', channelName: 'presence-example' },
    sessions: true,
    ...compose({ online: presence() })
  })
  const online = presence.client(node, 'online')
  const http = createServer()
  const server = new Server(http)

  const names = () => [...new Set(online.list().map(({ data }) => data.user))].sort()
  online.watch(() => server.emit('online', names()))

  server.on('connection', socket => {
    const { user } = socket.handshake.auth
    // A user may have several connections, at several servers.
    const entered = online.enter(socket.id, { user })
    entered.catch(console.error)
    socket.on('disconnect', () => entered.then(() => online.leave(socket.id)).catch(() => {}))
    socket.emit('online', names())
  })

  http.listen(0)
  await once(http, 'listening')
  const url = `http://127.0.0.1:${http.address().port}`
  const close = async () => {
    await server.close()
    await node.close()
  }
  return { url, close, ready: node.ready() }
}

/** Resolves when the client sees exactly these users. */
function sees(client, ...users) {
  return new Promise(resolve => {
    const check = names => {
      if (names.join() !== users.join()) return
      client.off('online', check)
      resolve()
    }
    client.on('online', check)
  })
}

async function main() {
  const servers = await Promise.all(['a', 'b'].map(serve))
  await Promise.all(servers.map(({ ready }) => ready))

  const connect = (server, user) => io(server.url, { auth: { user }, transports: ['websocket'] })
  const ann = connect(servers[0], 'ann')
  await sees(ann, 'ann')
  const bob = connect(servers[1], 'bob')
  await Promise.all([sees(ann, 'ann', 'bob'), sees(bob, 'ann', 'bob')])
  console.log('ann and bob see each other, at two servers')

  const left = sees(ann, 'ann')
  bob.disconnect()
  await left
  console.log('ann sees that bob has left')

  ann.disconnect()
  await Promise.all(servers.map(server => server.close()))
}

main()
