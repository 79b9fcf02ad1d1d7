// Compiled, never run: the servers of Node and of socket.io are taken, with their own types.
import { enhanceServerForSocketIOChannel, type HttpServer } from '../socket.io'

declare const server: HttpServer
const close = enhanceServerForSocketIOChannel(server, { path: '/elsewhere' })
const closed: Promise<void> = close(() => {})
// @ts-expect-error an address is no server
enhanceServerForSocketIOChannel('http://localhost:8000')

declare const io: { of(name: string): { on(event: 'connection', listener: (socket: object) => void): void } }
enhanceServerForSocketIOChannel(io)

export { closed }
