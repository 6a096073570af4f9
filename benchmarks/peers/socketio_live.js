// Socket.IO 4 as a live stream: what a viewer says goes to all at once and is acknowledged, reactions are summed and
// the sums of a second go to all, and so does the number of viewers when it has changed. Nothing is stored, nobody is
// known, nothing is limited. It prints its port as one line of JSON.
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

const ROOM = "stream";
const TELL_EVERY_MS = 1000;

const server = http.createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false });

let sums = {};
let told = 0;

io.on("connection", (socket) => {
  socket.join(ROOM);
  socket.on("m", (data, acknowledge) => {
    io.to(ROOM).emit("m", data);
    if (acknowledge) acknowledge();
  });
  socket.on("r", (emoji) => {
    sums[emoji] = (sums[emoji] || 0) + 1;
  });
});

setInterval(() => {
  const viewers = io.engine.clientsCount;
  if (viewers !== told) {
    told = viewers;
    io.to(ROOM).emit("viewers", viewers);
  }
  if (Object.keys(sums).length > 0) {
    io.to(ROOM).emit("reactions", sums);
    sums = {};
  }
}, TELL_EVERY_MS);

server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(JSON.stringify({ port: server.address().port }));
});
