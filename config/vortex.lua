-- A Wireshark dissector for Vortex, by which daemons fetch pieces from each other.
--
--   wireshark -X lua_script:config/vortex.lua capture.pcap
--   tshark -X lua_script:config/vortex.lua -r capture.pcap -Y vortex
--
-- or copy it into the folder "Personal Lua Plugins" (Help, About, Folders). It is found on TCP port 4005, on other TCP
-- ports by the form of a request, and inside of TLS and QUIC by the name of the protocol in their handshakes,
-- d7y-vortex/1. For these two Wireshark needs the secrets (-o tls.keylog_file:FILE); of QUIC a daemon writes them
-- where storage.server.quic.keyLog says. Packets of QUIC by quinn cannot be read: it has no such log.
--
-- Header, big-endian as everything: packet id (1), tag (1), length of the value (4). What follows an announcement (tags
-- 1, 3, 5, 7) is the piece's content, outside of any packet: as many bytes as the announcement says, or as were asked
-- for with tag 64. Source: packages/vortex/src.

local vortex = Proto("vortex", "Vortex")

local TAGS = {
  [0] = "Download piece",
  [1] = "Piece content",
  [2] = "Download persistent piece",
  [3] = "Persistent piece content",
  [4] = "Download persistent cache piece",
  [5] = "Persistent cache piece content",
  [6] = "Download cache piece",
  [7] = "Cache piece content",
  [64] = "Download piece range",
  [254] = "Close",
  [255] = "Error",
}
local IS_REQUEST = { [0] = true, [2] = true, [4] = true, [6] = true, [64] = true }
local IS_CONTENT = { [1] = true, [3] = true, [5] = true, [7] = true }
local ERRORS = {
  [0] = "unknown",
  [1] = "invalid argument",
  [2] = "not found",
  [3] = "internal",
  [64] = "busy",
}
local TRAFFIC = { [0] = "back to source", [1] = "remote peer", [2] = "local peer" }

local HEADER_LENGTH = 6
local REQUEST_LENGTH = 68
local RANGE_LENGTH = 84
-- What no value is longer than: more is no Vortex.
local VALUE_LENGTH_MAX = 4 + 64 * 1024

local f = {
  id = ProtoField.uint8("vortex.id", "Packet id", base.DEC),
  tag = ProtoField.uint8("vortex.tag", "Tag", base.DEC, TAGS),
  value_length = ProtoField.uint32("vortex.value_length", "Value length", base.DEC),
  value = ProtoField.bytes("vortex.value", "Value"),
  task_id = ProtoField.string("vortex.task_id", "Task id"),
  piece_number = ProtoField.uint32("vortex.piece_number", "Piece number", base.DEC),
  range_offset = ProtoField.uint64("vortex.range.offset", "Offset within the piece", base.DEC),
  range_length = ProtoField.uint64("vortex.range.length", "Length asked for", base.DEC),
  metadata_length = ProtoField.uint32("vortex.metadata_length", "Metadata length", base.DEC),
  offset = ProtoField.uint64("vortex.offset", "Offset within the task", base.DEC),
  length = ProtoField.uint64("vortex.length", "Piece length", base.DEC),
  digest = ProtoField.string("vortex.digest", "Digest"),
  parent_id = ProtoField.string("vortex.parent_id", "Parent id"),
  traffic_type = ProtoField.uint8("vortex.traffic_type", "Traffic type", base.DEC, TRAFFIC),
  cost = ProtoField.uint64("vortex.cost", "Cost in seconds", base.DEC),
  created_at = ProtoField.absolute_time("vortex.created_at", "Created at", base.UTC),
  later = ProtoField.bytes("vortex.later", "Fields of later versions"),
  error_code = ProtoField.uint8("vortex.error.code", "Error code", base.DEC, ERRORS),
  error_message = ProtoField.string("vortex.error.message", "Error message"),
  content = ProtoField.bytes("vortex.content", "Content"),
  content_length = ProtoField.uint32("vortex.content.length", "Content here", base.DEC),
  content_left = ProtoField.uint64("vortex.content.left", "Content still to come", base.DEC),
}
vortex.fields = f

local malformed = ProtoExpert.new(
  "vortex.malformed",
  "This is no Vortex packet",
  expert.group.MALFORMED,
  expert.severity.ERROR
)
local untold = ProtoExpert.new(
  "vortex.untold",
  "The request is not in the capture: how much content follows is taken from the piece's length",
  expert.group.SEQUENCE,
  expert.severity.NOTE
)
vortex.experts = { malformed, untold }

local ok, quic_stream = pcall(Field.new, "quic.stream.stream_id")
if not ok then
  quic_stream = nil
end

-- What is known of each direction of a stream, built up once, in the order of the capture. Later visits, in any order,
-- find what was known then in `seen`.
local directions = {}
local seen = {}

function vortex.init()
  directions = {}
  seen = {}
end

local function direction_names(pinfo)
  local stream = ""
  if quic_stream then
    -- Of several streams in one packet the last that was come to is the one being dissected.
    local values = { quic_stream() }
    if #values > 0 then
      stream = " " .. tostring(values[#values].value)
    end
  end
  local from = tostring(pinfo.src) .. " " .. tostring(pinfo.src_port)
  local to = tostring(pinfo.dst) .. " " .. tostring(pinfo.dst_port)
  return from .. " > " .. to .. stream, to .. " > " .. from .. stream
end

local function direction(name)
  local one = directions[name]
  if one == nil then
    -- `left`: bytes of content still to come. `requests`: asked for in this direction and not answered yet.
    one = { left = 0, requests = {} }
    directions[name] = one
  end
  return one
end

-- The same bytes at the same place, whenever they are looked at again.
local function place_of(pinfo, tvb)
  local head = tvb:raw(0, math.min(tvb:len(), 32))
  return table.concat({ pinfo.number, tvb:len(), pinfo.src_port, head }, "|")
end

local function text(tvb)
  return tvb:string(ENC_UTF_8)
end

local function add_request(tree, value, tag)
  tree:add(f.task_id, value(0, 64))
  tree:add(f.piece_number, value(64, 4))
  local what = string.format("piece %d of %s…", value(64, 4):uint(), text(value(0, 8)))
  if tag ~= 64 then
    return what, nil
  end
  tree:add(f.range_offset, value(68, 8))
  tree:add(f.range_length, value(76, 8))
  local range = { offset = value(68, 8):uint64(), length = value(76, 8):uint64() }
  local size = tostring(range.length)
  -- How everything to the end is asked for.
  if range.length > UInt64.new(0xffffffff, 0xffff) then
    size = "all"
  end
  return string.format("%s, %s from %s", what, size, tostring(range.offset)), range
end

-- Returns what to say of it, and the piece's length; nothing if it is none.
local function add_metadata(tree, value)
  local length = value:len()
  if length < 49 or value(0, 4):uint() ~= length - 4 then
    return nil
  end
  local digest_length = value(24, 4):uint()
  if 28 + digest_length + 4 > length then
    return nil
  end
  local parent_at = 28 + digest_length
  local parent_length = value(parent_at, 4):uint()
  local rest = parent_at + 4 + parent_length
  if rest + 17 > length then
    return nil
  end
  tree:add(f.metadata_length, value(0, 4))
  tree:add(f.piece_number, value(4, 4))
  tree:add(f.offset, value(8, 8))
  tree:add(f.length, value(16, 8))
  tree:add(f.digest, value(28, digest_length))
  tree:add(f.parent_id, value(parent_at + 4, parent_length))
  tree:add(f.traffic_type, value(rest, 1))
  tree:add(f.cost, value(rest + 1, 8))
  local created_at = value(rest + 9, 8):int64():tonumber()
  tree:add(f.created_at, value(rest + 9, 8), NSTime.new(created_at, 0))
  if rest + 17 < length then
    tree:add(f.later, value(rest + 17))
  end
  local piece_length = value(16, 8):uint64()
  local what = string.format("piece %d, %s bytes", value(4, 4):uint(), tostring(piece_length))
  return what, piece_length
end

-- How many bytes of content an announcement is followed by.
local function content_length(piece_length, request)
  local length = piece_length:tonumber()
  if request == nil or request.range == nil then
    return length
  end
  local offset = request.range.offset:tonumber()
  return math.max(0, math.min(request.range.length:tonumber(), length - offset))
end

local function add_content(tree, pinfo, bytes, left)
  local branch = tree:add(vortex, bytes, string.format("Vortex, content: %d bytes", bytes:len()))
  branch:add(f.content, bytes)
  branch:add(f.content_length, bytes:len()):set_generated()
  branch:add(f.content_left, UInt64(left)):set_generated()
end

-- One packet whose bytes are all there.
local function add_packet(tree, pinfo, packet, ways)
  local tag = packet(1, 1):uint()
  local name = TAGS[tag] or string.format("Reserved (%d)", tag)
  local branch = tree:add(vortex, packet, "Vortex, " .. name)
  branch:add(f.id, packet(0, 1))
  branch:add(f.tag, packet(1, 1))
  branch:add(f.value_length, packet(2, 4))
  local said = name
  local follows = 0
  local value_length = packet:len() - HEADER_LENGTH
  local value = value_length > 0 and packet(HEADER_LENGTH) or nil
  if IS_REQUEST[tag] then
    local what, range = add_request(branch, value, tag)
    said = name .. ": " .. what
    if ways.is_first_visit then
      table.insert(ways.own.requests, { range = range })
    end
  elseif IS_CONTENT[tag] then
    local what, piece_length = add_metadata(branch, value)
    if what == nil then
      branch:add_proto_expert_info(malformed, "Its metadata do not fit their length")
    else
      said = name .. ": " .. what
      local request = ways.is_first_visit and table.remove(ways.other.requests, 1) or nil
      if ways.is_first_visit and request == nil then
        ways.is_untold = true
      end
      follows = content_length(piece_length, request)
      if ways.is_untold then
        branch:add_proto_expert_info(untold)
      end
    end
  elseif tag == 255 then
    branch:add(f.error_code, value(0, 1))
    local message = ""
    if value_length > 1 then
      branch:add(f.error_message, value(1))
      message = ": " .. text(value(1))
    end
    local code = value(0, 1):uint()
    said = string.format("%s: %s%s", name, ERRORS[code] or tostring(code), message)
    if ways.is_first_visit then
      table.remove(ways.other.requests, 1)
    end
  elseif value ~= nil then
    branch:add(f.value, value)
  end
  branch:append_text(said:sub(#name + 1))
  pinfo.cols.info:append((ways.count > 0 and "; " or "") .. said)
  ways.count = ways.count + 1
  return follows
end

-- What is wrong with a header; nothing if it can be one.
local function fault_of(header)
  local tag = header(1, 1):uint()
  local length = header(2, 4):uint()
  if tag == 64 and length ~= RANGE_LENGTH then
    return string.format("its value has %d bytes, expected %d", length, RANGE_LENGTH)
  end
  if IS_REQUEST[tag] and tag ~= 64 and length ~= REQUEST_LENGTH then
    return string.format("its value has %d bytes, expected %d", length, REQUEST_LENGTH)
  end
  if tag == 255 and length == 0 then
    return "it has no error code"
  end
  if length > VALUE_LENGTH_MAX then
    return string.format("its value has %d bytes, expected %d at most", length, VALUE_LENGTH_MAX)
  end
  return nil
end

function vortex.dissector(tvb, pinfo, tree)
  local length = tvb:len()
  if length == 0 then
    return 0
  end
  local own_name, other_name = direction_names(pinfo)
  local place = place_of(pinfo, tvb)
  local before = seen[place]
  local ways = {
    is_first_visit = before == nil,
    own = direction(own_name),
    other = direction(other_name),
    count = 0,
    is_untold = false,
  }
  if ways.is_first_visit then
    before = { left = ways.own.left, follows = {}, untold = {} }
    seen[place] = before
  end
  pinfo.cols.protocol = "Vortex"
  pinfo.cols.info = ""

  local at = 0
  local left = before.left
  local content_count = 0
  while at < length do
    if left > 0 then
      local count = math.min(left, length - at)
      left = left - count
      add_content(tree, pinfo, tvb(at, count), left)
      content_count = content_count + count
      at = at + count
    else
      local missing = 0
      if length - at < HEADER_LENGTH then
        missing = DESEGMENT_ONE_MORE_SEGMENT
      else
        local fault = fault_of(tvb(at, HEADER_LENGTH))
        if fault ~= nil then
          local rest = tree:add(vortex, tvb(at), "Vortex, not understood")
          rest:add_proto_expert_info(malformed, "This is no Vortex packet: " .. fault)
          at = length
          break
        end
        local packet_length = HEADER_LENGTH + tvb(at + 2, 4):uint()
        if packet_length > length - at then
          missing = packet_length - (length - at)
        end
      end
      if missing > 0 then
        -- The rest comes with what follows: the dissector is called again with both.
        pinfo.desegment_offset = at
        pinfo.desegment_len = missing
        break
      end
      local packet = tvb(at, HEADER_LENGTH + tvb(at + 2, 4):uint())
      ways.is_untold = before.untold[at] == true
      local follows = add_packet(tree, pinfo, packet, ways)
      if ways.is_first_visit then
        before.follows[at] = follows
        before.untold[at] = ways.is_untold
      end
      left = before.follows[at] or 0
      at = at + packet:len()
    end
  end
  if content_count > 0 then
    local said = string.format("%d bytes of content", content_count)
    pinfo.cols.info:append((ways.count > 0 and "; " or "") .. said)
  end
  if ways.is_first_visit then
    ways.own.left = left
  end
  return length
end

-- A request, by which the protocol shows itself on any port: a known tag, the length it has, a task id of hex digits.
local function looks_like_request(tvb)
  if tvb:len() < HEADER_LENGTH + REQUEST_LENGTH then
    return false
  end
  local tag = tvb(1, 1):uint()
  if not IS_REQUEST[tag] or fault_of(tvb(0, HEADER_LENGTH)) ~= nil then
    return false
  end
  return tvb(HEADER_LENGTH, 64):string():match("^%x+$") ~= nil
end

local function recognise(tvb, pinfo, tree)
  if not looks_like_request(tvb) then
    return false
  end
  pinfo.conversation = vortex
  vortex.dissector(tvb, pinfo, tree)
  return true
end

vortex:register_heuristic("tcp", recognise)
DissectorTable.get("tcp.port"):add(4005, vortex)
-- By what the handshakes of TLS and QUIC name.
for _, name in ipairs({ "tls.alpn", "quic.proto" }) do
  -- Older versions of Wireshark do not know QUIC's.
  local found, by_name = pcall(DissectorTable.get, name)
  if found and by_name then
    by_name:add("d7y-vortex/1", vortex)
  end
end
