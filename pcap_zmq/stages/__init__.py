"""Values in, values out; nothing here touches the world."""
