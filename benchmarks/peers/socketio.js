// Socket.IO 4: what a client says goes to all of the room it named when it connected, the sender included; nothing
// is stored. A message that asks for an acknowledgement gets it at once. It prints its port as one line of JSON.
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

const server = http.createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  const room = socket.handshake.query.room;
  socket.join(room);
  socket.on("m", (data, acknowledge) => {
    io.to(room).emit("m", data);
    if (acknowledge) acknowledge();
  });
});

server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(JSON.stringify({ port: server.address().port }));
});
