/**
 * Makes a server carry the messages of the channel `socket.io`. It needs the package socket.io 4 (a peer dependency:
 * `npm install socket.io`). The server stores nothing; while it is down nothing commits, as with Redis.
 *
 * @example
 * ```js
 * const http = require('node:http')
 * const { enhanceServerForSocketIOChannel } = require('conflux/socket.io')
 *
 * const server = http.createServer()
 * const close = enhanceServerForSocketIOChannel(server)
 * server.listen(8000)
 * ```
 *
 * @param server a server of node:http or node:https; or one of socket.io itself, in which conflux uses the namespace
 *   `/conflux` and otherwise leaves all to you (give it a `maxHttpBufferSize` of at least 4 MB).
 * @param options of the server of socket.io that is made for a server of node:http, such as `path` or `cors`.
 * @returns a function that ends it: it disconnects the nodes and, as in conflux 1.x, closes the server of node:http. It
 *   calls the callback, and its promise resolves, when that is done.
 * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: it is no server.
 * @throws `ERR_CONFLUX_INVALID_OPTIONS`: socket.io 4 is not installed.
 */
export function enhanceServerForSocketIOChannel(
  server: HttpServer | SocketIOServer,
  options?: Record<string, unknown>
): (callback?: () => void) => Promise<void>

/** As far as it matters here: that of node:http, node:https or node:http2. */
export interface HttpServer {
  listen(...args: any[]): unknown
  close(...args: any[]): unknown
  on(event: string, listener: (...args: any[]) => void): unknown
}

/** As far as it matters here: `Server` of socket.io. */
export interface SocketIOServer {
  of(namespace: string): unknown
}
