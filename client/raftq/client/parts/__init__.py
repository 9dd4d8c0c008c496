"""The methods of the asyncio client, by what they are for; `AsyncClient` is made of these."""
