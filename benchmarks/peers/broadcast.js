// The peer of the fan-out: a plain `ws` server that sends what one client says to all, and stores nothing.
// It prints its port as one line of JSON.
"use strict";

const { WebSocketServer, WebSocket } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 4096 });

server.on("connection", (socket) => {
  socket.on("message", (data, binary) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary });
    }
  });
});

server.on("listening", () => console.log(JSON.stringify({ port: server.address().port })));
